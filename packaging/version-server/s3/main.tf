# A version server in an S3 bucket: readable by everyone over TLS, versioned.
#
#   terraform init && terraform apply
#
# `channels` sets the version of each channel, and how many percent of its hosts it is for; the output `endpoints` is what the hosts
# need. Three objects cannot be replaced at once. They are written in this order: rollout, version, critical. So for some seconds a
# new percentage applies to the previous version. Where that matters, use two applies: to end an emergency, first critical = false;
# after a version that must not spread, first version = "none" with percent = 0; then the next version.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  type        = string
  description = "The region of the bucket, such as eu-central-1."
}

variable "bucket" {
  type        = string
  description = "The name of the bucket, globally unique."
}

variable "channels" {
  description = "The version of each channel: dev first, prod once dev is healthy."
  type = map(object({
    version  = string
    critical = optional(bool, false)
    percent  = optional(number, 100)
  }))
  default = {
    dev  = { version = "none" }
    prod = { version = "none" }
  }

  validation {
    condition = alltrue([
      for channel in values(var.channels) : can(regex("^(none|[0-9]+\\.[0-9]+\\.[0-9]+)$", channel.version))
    ])
    error_message = "The version of a channel must be like 17.5.2, or none."
  }

  validation {
    condition = alltrue([
      for channel in values(var.channels) : channel.percent >= 0 && channel.percent <= 100 && (channel.percent == 100 || !channel.critical)
    ])
    error_message = "The percent of a channel must be from 0 to 100, and 100 for a critical version."
  }
}

resource "aws_s3_bucket" "version_server" {
  bucket = var.bucket
}

resource "aws_s3_bucket_versioning" "version_server" {
  bucket = aws_s3_bucket.version_server.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_ownership_controls" "version_server" {
  bucket = aws_s3_bucket.version_server.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# Public only by the policy below.
resource "aws_s3_bucket_public_access_block" "version_server" {
  bucket = aws_s3_bucket.version_server.id

  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = false
  restrict_public_buckets = false
}

resource "aws_s3_bucket_policy" "version_server" {
  depends_on = [aws_s3_bucket_public_access_block.version_server]
  bucket     = aws_s3_bucket.version_server.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "GrantAnonymousReadPermissions"
        Principal = "*"
        Action    = ["s3:GetObject"]
        Effect    = "Allow"
        Resource  = ["${aws_s3_bucket.version_server.arn}/*"]
      },
      {
        Sid       = "RefuseWhatIsNotEncrypted"
        Principal = "*"
        Action    = ["s3:*"]
        Effect    = "Deny"
        Resource  = [aws_s3_bucket.version_server.arn, "${aws_s3_bucket.version_server.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

# Before the version, so that a new version is never for more hosts than its own percentage.
resource "aws_s3_object" "rollout" {
  for_each = var.channels

  bucket        = aws_s3_bucket.version_server.id
  key           = "${each.key}/rollout"
  content       = "${each.value.percent}\n"
  content_type  = "text/plain; charset=utf-8"
  cache_control = "no-cache"
}

resource "aws_s3_object" "version" {
  for_each   = var.channels
  depends_on = [aws_s3_object.rollout]

  bucket        = aws_s3_bucket.version_server.id
  key           = "${each.key}/version"
  content       = "${each.value.version}\n"
  content_type  = "text/plain; charset=utf-8"
  cache_control = "public, max-age=60"
}

# After the version, so that the previous version never becomes critical.
resource "aws_s3_object" "critical" {
  for_each   = var.channels
  depends_on = [aws_s3_object.version]

  bucket        = aws_s3_bucket.version_server.id
  key           = "${each.key}/critical"
  content       = each.value.critical ? "yes\n" : "no\n"
  content_type  = "text/plain; charset=utf-8"
  cache_control = "public, max-age=60"
}

output "endpoints" {
  description = "The value of /etc/teleport-upgrade.d/endpoint for the hosts of each channel."
  value       = { for name in keys(var.channels) : name => "${aws_s3_bucket.version_server.bucket_regional_domain_name}/${name}" }
}
