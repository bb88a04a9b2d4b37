//! systemd's timer, as the unit file sets it.

use std::fs;
use std::path::Path;

/// The settings of a timer, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timer {
    /// `OnActiveSec=`: from the start of the timer to the first run.
    pub first: f64,
    /// `OnUnitInactiveSec=`: from the end of a run to the next.
    pub pause: f64,
    /// `RandomizedDelaySec=`: is added to both, up to this much.
    pub random: f64,
    /// `FixedRandomDelay=`: that delay is the same each time.
    pub fixed: bool,
    /// `AccuracySec=`.
    pub accuracy: f64,
}

impl Timer {
    /// Reads a unit file; panics at what it does not know, for then the model is not that of the unit.
    pub fn read(unit: &Path) -> Timer {
        let text =
            fs::read_to_string(unit).unwrap_or_else(|error| panic!("{}: {error}", unit.display()));
        let mut timer = Timer {
            first: 0.0,
            pause: 0.0,
            random: 0.0,
            fixed: false,
            accuracy: 60.0,
        };
        let settings = text
            .lines()
            .skip_while(|line| *line != "[Timer]")
            .skip(1)
            .take_while(|line| !line.starts_with('['));
        for line in settings.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').unwrap();
            match key {
                "OnActiveSec" => timer.first = seconds(value),
                "OnUnitInactiveSec" => timer.pause = seconds(value),
                "RandomizedDelaySec" => timer.random = seconds(value),
                "AccuracySec" => timer.accuracy = seconds(value),
                "FixedRandomDelay" => timer.fixed = value == "yes" || value == "true",
                other => panic!("{}: {other}= is not modelled", unit.display()),
            }
        }
        timer
    }
}

/// `30min`, `10s`, `1ms`.
fn seconds(text: &str) -> f64 {
    let units = [("min", 60.0), ("ms", 0.001), ("s", 1.0), ("h", 3600.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .unwrap();
    number.trim().parse::<f64>().unwrap() * unit
}

/// A host's timer.
pub struct Running {
    timer: Timer,
    /// The delay of this host, where it is fixed.
    delay: f64,
    /// Where this host's grid lies.
    grid: f64,
}

impl Running {
    /// Starts a timer.
    pub fn new(timer: Timer, random: &mut Random) -> Running {
        Running {
            timer,
            delay: random.up_to(timer.random),
            grid: random.up_to(timer.accuracy),
        }
    }

    /// When the first run begins, if the timer is started at this moment.
    pub fn first(&self, now: f64, random: &mut Random) -> f64 {
        self.elapse(now + self.timer.first, random)
    }

    /// When the next run begins, if one ended at this moment.
    pub fn next(&self, now: f64, random: &mut Random) -> f64 {
        self.elapse(now + self.timer.pause, random)
    }

    fn elapse(&self, at: f64, random: &mut Random) -> f64 {
        let at = at
            + if self.timer.fixed {
                self.delay
            } else {
                random.up_to(self.timer.random)
            };
        // The first point of the host's own grid that is not earlier.
        let accuracy = self.timer.accuracy;
        ((at - self.grid) / accuracy).ceil() * accuracy + self.grid
    }
}

/// Random numbers (SplitMix64): the same ones each time, for figures that can be made again.
pub struct Random(pub u64);

impl Random {
    /// A number from 0 up to, but without, `most`.
    pub fn up_to(&mut self, most: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64 * most
    }
}
