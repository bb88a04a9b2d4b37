# A version server in an S3 bucket: public to read, by TLS only, every earlier state kept.
#
#   terraform init && terraform apply
#
# `channels` names the version of each channel; the hosts' endpoint is what `endpoints` says. Before you end an emergency by naming
# another version, apply once with critical = false: a bucket cannot exchange two files at one stroke.

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
  description = "The name of the bucket, unique in the world."
}

variable "channels" {
  description = "What each channel names: dev first, prod once dev is well."
  type = map(object({
    version  = string
    critical = optional(bool, false)
  }))
  default = {
    dev  = { version = "none" }
    prod = { version = "none" }
  }

  validation {
    condition = alltrue([
      for channel in values(var.channels) : can(regex("^(none|[0-9]+\\.[0-9]+\\.[0-9]+)$", channel.version))
    ])
    error_message = "A channel names a version like 14.3.34, or none."
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

# Public by the policy below, and in no other way.
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

resource "aws_s3_object" "version" {
  for_each = var.channels

  bucket        = aws_s3_bucket.version_server.id
  key           = "${each.key}/version"
  content       = "${each.value.version}\n"
  content_type  = "text/plain; charset=utf-8"
  cache_control = "public, max-age=60"
}

# After the version: what turns critical is never the one before.
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
  description = "What to write to /etc/teleport-upgrade.d/endpoint on the hosts of each channel."
  value       = { for name in keys(var.channels) : name => "${aws_s3_bucket.version_server.bucket_regional_domain_name}/${name}" }
}
