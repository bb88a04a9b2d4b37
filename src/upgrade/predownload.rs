//! Downloads a package before its maintenance window, at low priority, and removes it once it is not needed any more.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use log::{debug, info, warn};
use nix::sys::statvfs::statvfs;

use crate::packages::PackageManager;
use crate::packages::package::Installed;
use crate::state::history::{Download, Fetched};
use crate::state::record::Record;
use crate::system::process::command::Command;
use crate::system::text::reasons;
use crate::version::Version;

/// The free space that a pre-download needs: the package may also be unpacked on that disk, and takes six times its size.
const SPACE: u64 = 1 << 30;
/// How long to wait after a failure.
const PAUSE: TimeDelta = TimeDelta::hours(4);
/// For programs that only make a system call.
const LIMIT: Duration = Duration::from_secs(10);

/// Downloads `version`, the next on the upgrade path to the target of `planned`. A failure is logged once, and is no error: the install
/// downloads too.
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
                "downloaded {} {}; it will be installed in the maintenance window",
                fetched.package, fetched.package_version
            );
            Download {
                fetched: Some(fetched),
                ..planned.clone()
            }
        }
        Err(error) => {
            let problem = format!(
                "cannot pre-download {} {version}: {}",
                installed.name,
                reasons(&error)
            );
            if planned.failed {
                debug!("{problem}")
            } else {
                warn!("{problem}. Will retry; otherwise it is downloaded at install time")
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

/// Records what is to be downloaded, or that nothing is.
pub fn plan(record: &mut Record, download: Option<Download>) {
    if let Err(error) = record.update(|history| history.download = download) {
        warn!("{}", reasons(&error));
    }
}

/// Removes what was downloaded: it is installed by now, or will not be.
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
    debug!("removing the download of {package} {package_version}");
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
        bail!("this package manager cannot download without installing")
    };
    let existing = directory
        .ancestors()
        .find(|directory| directory.exists())
        .unwrap_or(Path::new("/"));
    let disk = statvfs(existing)?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < SPACE {
        bail!(
            "not enough free space in {}: {} MiB free, {} MiB needed",
            existing.display(),
            free >> 20,
            SPACE >> 20
        );
    }
    lower_priority();
    // It may have been held since it was read.
    let installed = packages
        .installed(&installed.name)?
        .with_context(|| format!("{} is not installed", installed.name))?;
    // Repairing the package changes it, which has to wait for the window.
    if let Some(problem) = &installed.broken {
        bail!("{problem}; the install will repair that");
    }
    let found = packages.find(&installed, version)?;
    let begun = Fetched {
        package: installed.name.clone(),
        package_version: found.package_version.clone(),
        complete: false,
    };
    if let Some(other) = planned.fetched.as_ref().filter(|other| **other != begun) {
        remove(packages, other);
    }
    // Before the download starts: if this run is killed, the next one knows which file to remove.
    record.update(|history| {
        history.download = Some(Download {
            fetched: Some(begun.clone()),
            ..planned.clone()
        })
    })?;
    packages.download(&installed, &found)?;
    Ok(Fetched {
        complete: true,
        ..begun
    })
}

/// Lowers the priority of this process on CPU and disk. Its children inherit that.
fn lower_priority() {
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

/// The download for a target whose window opens at `opens`: the one that is done or planned, else a new one that is due at `due`.
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
