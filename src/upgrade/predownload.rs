//! Downloads a package ahead of its install, at low priority, and removes one that nobody wants any more.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use log::{debug, info, warn};
use nix::sys::statvfs::statvfs;

use crate::packages::PackageManager;
use crate::packages::package::{Database, Installed};
use crate::state::history::{Download, Fetched};
use crate::state::record::Record;
use crate::system::command::Command;
use crate::system::text::reasons;
use crate::version::Version;

/// What is left free of a disk that something is downloaded to, and unpacked on perhaps: six times the package.
const ROOM: u64 = 1 << 30;
/// What failed is tried again after so long.
const PAUSE: TimeDelta = TimeDelta::hours(4);
/// These programs only ask the kernel for something.
const LIMIT: Duration = Duration::from_secs(10);

/// Downloads `version`, the next on the way to what `planned` is for. Whatever goes wrong is said once, and is no error: there is
/// another download with the install.
pub fn fetch(
    packages: &dyn PackageManager,
    record: &mut Record,
    planned: &Download,
    installed: &Installed,
    version: &Version,
) {
    let now = Utc::now();
    let done = match download(packages, record, planned, installed, version) {
        Ok(fetched) => {
            info!(
                "{} {} is downloaded ahead, and waits for the window",
                fetched.package, fetched.package_version
            );
            Download {
                fetched: Some(fetched),
                ..planned.clone()
            }
        }
        Err(error) => {
            let said = format!(
                "{} {version} cannot be downloaded ahead: {}",
                installed.name,
                reasons(&error)
            );
            if planned.failed {
                debug!("{said}")
            } else {
                warn!("{said}; it is tried again, at the latest with the install")
            }
            let begun = record
                .history()
                .download
                .clone()
                .unwrap_or_else(|| planned.clone());
            Download {
                due: now + PAUSE,
                failed: true,
                ..begun
            }
        }
    };
    plan(record, Some(done));
}

/// Writes down what is to be downloaded, or that nothing is.
pub fn plan(record: &mut Record, download: Option<Download>) {
    if let Err(error) = record.update(|history| history.download = download) {
        warn!("{}", reasons(&error));
    }
}

/// Removes what was downloaded, which was not installed or is by now.
pub fn discard(packages: &dyn PackageManager, record: &mut Record) {
    if let Some(fetched) = record
        .history()
        .download
        .as_ref()
        .and_then(|download| download.fetched.as_ref())
    {
        remove(packages, fetched);
    }
    plan(record, None);
}

fn remove(packages: &dyn PackageManager, fetched: &Fetched) {
    let Fetched {
        package,
        package_version,
        ..
    } = fetched;
    debug!("removing what was downloaded of {package} {package_version}");
    if let Err(error) = packages.discard(package, package_version) {
        warn!("{error}");
    }
}

fn download(
    packages: &dyn PackageManager,
    record: &mut Record,
    planned: &Download,
    installed: &Installed,
    version: &Version,
) -> Result<Fetched> {
    let Some(directory) = packages.downloads() else {
        bail!("this package manager only downloads what it installs at once")
    };
    let existing = directory
        .ancestors()
        .find(|directory| directory.exists())
        .unwrap_or(Path::new("/"));
    let disk = statvfs(existing)?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < ROOM {
        bail!(
            "{} has {} MiB of room, and {} MiB are wanted",
            existing.display(),
            free >> 20,
            ROOM >> 20
        );
    }
    step_back();
    // It may have been locked since it was looked at.
    let installed = packages
        .installed(&installed.name)?
        .with_context(|| format!("{} is not installed", installed.name))?;
    // What a transaction that was cut off has left in rpm's database is mended by the one who installs.
    if let (Database::Rpm, Some(damage)) = (installed.database, &installed.damage) {
        bail!("{damage}, which is mended with the install");
    }
    let package_version = packages.find(&installed, version)?.package_version;
    let begun = Fetched {
        package: installed.name.clone(),
        package_version,
        complete: false,
    };
    if let Some(other) = planned.fetched.as_ref().filter(|other| **other != begun) {
        remove(packages, other);
    }
    // Before a byte of it is there: whatever ends this pass, it is known what may be left of it.
    record.update(|history| {
        history.download = Some(Download {
            fetched: Some(begun.clone()),
            ..planned.clone()
        })
    })?;
    packages.download(&installed, &begun.package_version)?;
    Ok(Fetched {
        complete: true,
        ..begun
    })
}

/// Lets all others go first, on the processor and the disk. What is started from now on inherits that.
fn step_back() {
    let own = std::process::id().to_string();
    for (program, arguments) in [
        ("renice", ["-n", "19", "-p", &own]),
        ("ionice", ["-c", "3", "-p", &own]),
    ] {
        match Command::new(program, arguments).limit(LIMIT).often().run() {
            Ok(output) if output.success() => {}
            Ok(output) => debug!("{}", output.summary()),
            Err(error) => debug!("{}", reasons(&error)),
        }
    }
}

/// The download for a target that waits for the window that opens then: what is done or planned already, else one that is due then.
pub fn planned(
    record: &Record,
    target: &Version,
    opens: DateTime<Utc>,
    due: impl FnOnce() -> DateTime<Utc>,
) -> Download {
    match record
        .history()
        .download
        .clone()
        .filter(|known| known.target == *target)
    {
        Some(known) if known.is_complete() || known.opens == opens => known,
        known => {
            let fetched = known.and_then(|known| known.fetched);
            Download {
                target: target.clone(),
                opens,
                due: due(),
                fetched,
                failed: false,
            }
        }
    }
}
