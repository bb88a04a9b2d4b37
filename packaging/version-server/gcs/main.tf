# A version server in a Google Cloud Storage bucket: readable by everyone over TLS, versioned.
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
    google = {
      source  = "hashicorp/google"
      version = ">= 5.0, < 8.0"
    }
  }
}

provider "google" {
  project = var.project
}

variable "project" {
  type        = string
  description = "The project of the bucket."
}

variable "location" {
  type        = string
  description = "The location of the bucket, such as EU."
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

resource "google_storage_bucket" "version_server" {
  name                        = var.bucket
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "inherited"

  versioning {
    enabled = true
  }
}

# Everyone may read an object by its name, and nobody may list them.
resource "google_storage_bucket_iam_member" "public_read" {
  bucket = google_storage_bucket.version_server.name
  role   = "roles/storage.legacyObjectReader"
  member = "allUsers"
}

# No bucket of the project accepts plain HTTP.
resource "google_org_policy_policy" "tls_only" {
  name   = "projects/${var.project}/policies/storage.secureHttpTransport"
  parent = "projects/${var.project}"

  spec {
    rules {
      enforce = "TRUE"
    }
  }
}

# Before the version, so that a new version is never for more hosts than its own percentage.
resource "google_storage_bucket_object" "rollout" {
  for_each = var.channels

  bucket        = google_storage_bucket.version_server.name
  name          = "${each.key}/rollout"
  content       = "${each.value.percent}\n"
  content_type  = "text/plain; charset=utf-8"
  cache_control = "no-cache"
}

resource "google_storage_bucket_object" "version" {
  for_each   = var.channels
  depends_on = [google_storage_bucket_object.rollout]

  bucket        = google_storage_bucket.version_server.name
  name          = "${each.key}/version"
  content       = "${each.value.version}\n"
  content_type  = "text/plain; charset=utf-8"
  cache_control = "public, max-age=60"
}

# After the version, so that the previous version never becomes critical.
resource "google_storage_bucket_object" "critical" {
  for_each   = var.channels
  depends_on = [google_storage_bucket_object.version]

  bucket        = google_storage_bucket.version_server.name
  name          = "${each.key}/critical"
  content       = each.value.critical ? "yes\n" : "no\n"
  content_type  = "text/plain; charset=utf-8"
  cache_control = "public, max-age=60"
}

output "endpoints" {
  description = "The value of /etc/teleport-upgrade.d/endpoint for the hosts of each channel."
  value       = { for name in keys(var.channels) : name => "storage.googleapis.com/${google_storage_bucket.version_server.name}/${name}" }
}
