//! What was measured, as one table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::runtimes::WITH_FILES;
use crate::stages::Calls;

/// All that was measured.
#[derive(Debug, Default)]
pub struct Report {
    /// On which machine.
    pub machine: String,
    /// How often each stage was run by the clock.
    pub rounds: usize,
    /// The stages, by circumstances.
    pub stages: Vec<Stage>,
    /// What a container's life asks of NVML, on nodes of several sizes.
    pub calls: Vec<Calls>,
    /// Containers on real runtimes.
    pub runtimes: Vec<Runtime>,
}

/// A stage, or the no-op program.
#[derive(Debug)]
pub struct Stage {
    /// What it is.
    pub name: &'static str,
    /// In which circumstances; empty where in none to speak of.
    pub heading: &'static str,
    /// Instructions, its child's included; none where they can't be counted.
    pub instructions: Option<u64>,
    /// Wall time of each round.
    pub walls: Vec<Duration>,
    /// The most memory resident in any round, in KiB.
    pub peak_kib: u64,
}

/// Containers on one runtime that meet our hooks in one way.
#[derive(Debug)]
pub struct Runtime {
    /// The runtime, or Podman with it.
    pub name: String,
    /// How it met our hooks.
    pub case: &'static str,
    /// `create` of each run; empty where an engine does that by itself.
    pub creates: Vec<Duration>,
    /// The whole life of each run.
    pub lives: Vec<Duration>,
}

/// The most that a stage is meant to take. Figures are printed beside it, never held against it: machines differ.
#[derive(Clone, Copy, Debug)]
enum Budget {
    None,
    Wall(Duration),
    /// As a multiple of the no-op program.
    Times(f64),
    /// Beyond the no-op program, which runs in the end.
    Over(Duration),
}

const PEAK_MIB: u64 = 10;

fn budget(stage: &str) -> Budget {
    let micros = Duration::from_micros;
    match stage {
        "precreate, reserves" | "reserves, driver's files" => Budget::Wall(micros(5000)),
        "reserves, slow NVML" => Budget::Wall(micros(22_000)),
        "reserves, full ledger" => Budget::Wall(micros(8000)),
        "createRuntime, confirms" => Budget::Wall(micros(2500)),
        "poststop, releases" => Budget::Wall(micros(1500)),
        "createRuntime, didn't ask" | "precreate, didn't ask" => Budget::Times(1.3),
        "runtime, a call that isn't ours" | "runtime create, didn't ask" => Budget::Over(micros(1500)),
        "runtime create, reserves" => Budget::Over(micros(5000)),
        _ => Budget::None,
    }
}

/// The most that a container's create is meant to take, on a runtime.
fn container_budget(case: &str) -> &'static str {
    match case {
        WITH_FILES => "create: no hook + 6.00 ms",
        _ => "",
    }
}

impl Budget {
    fn text(self) -> String {
        match self {
            Budget::None => String::new(),
            Budget::Wall(wall) => format!("{} ms", millis(wall)),
            Budget::Times(times) => format!("{times} x no-op"),
            Budget::Over(over) => format!("no-op + {} ms", millis(over)),
        }
    }

    fn json(self) -> Value {
        let mut json = json!({"peak_kib": PEAK_MIB * 1024});
        match self {
            Budget::None => {}
            Budget::Wall(wall) => json["wall_us"] = micros(wall).into(),
            Budget::Times(times) => json["times_noop"] = times.into(),
            Budget::Over(over) => json["over_noop_us"] = micros(over).into(),
        }
        json
    }
}

impl Report {
    /// The table.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}\n{} rounds; NVML answers at once but where it is said; resident: at most {PEAK_MIB} MiB is meant\n\n",
            self.machine, self.rounds
        );
        let _ = writeln!(
            text,
            "{:<31} {:>12} {:>9} {:>9} {:>7} {:>9}  budget (min)",
            "stage", "instructions", "min ms", "median ms", "x no-op", "resident"
        );
        let mut heading = "";
        for stage in &self.stages {
            if stage.heading != heading {
                heading = stage.heading;
                let _ = writeln!(text, "{heading}");
            }
            text.push_str(&self.row(stage));
        }
        text.push_str(&self.calls_table());
        if !self.runtimes.is_empty() {
            text.push_str(&self.runtime_table());
        }
        text
    }

    fn calls_table(&self) -> String {
        let mut text = format!(
            "\n{:<31} {:>12} {:>9} {:>9} {:>9}\n",
            "NVML calls", "reserve", "GPUs", "confirm", "release"
        );
        for calls in &self.calls {
            let node = format!("a node of {} devices", calls.devices);
            let _ = writeln!(
                text,
                "{node:<31} {:>12} {:>9} {:>9} {:>9}",
                calls.reserve, calls.gpus, calls.confirm, calls.release
            );
        }
        text
    }

    fn row(&self, stage: &Stage) -> String {
        let (min, median) = spread(&stage.walls);
        let row = format!(
            "{:<31} {:>12} {:>9} {:>9} {:>7.2} {:>5.1} MiB  {}",
            stage.name,
            counted(stage.instructions),
            millis(min),
            millis(median),
            self.times_noop(min),
            stage.peak_kib as f64 / 1024.0,
            budget(stage.name).text()
        );
        row.trim_end().to_owned() + "\n"
    }

    fn times_noop(&self, min: Duration) -> f64 {
        let noop = self.stages.first().map(|noop| spread(&noop.walls).0);
        noop.map_or(f64::NAN, |noop| min.as_secs_f64() / noop.as_secs_f64())
    }

    fn runtime_table(&self) -> String {
        let mut text = format!(
            "\n{:<43} {:>20} {:>20}\n{:<14} {:<28} {:>10} {:>9} {:>10} {:>9}\n",
            "", "create", "whole life", "runtime", "container", "min ms", "median ms", "min ms", "median ms"
        );
        for runtime in &self.runtimes {
            let (create_min, create_median) = spread(&runtime.creates);
            let (life_min, life_median) = spread(&runtime.lives);
            let row = format!(
                "{:<14} {:<28} {:>10} {:>9} {:>10} {:>9}  {}",
                runtime.name,
                runtime.case,
                millis(create_min),
                millis(create_median),
                millis(life_min),
                millis(life_median),
                container_budget(runtime.case)
            );
            let _ = writeln!(text, "{}", row.trim_end());
        }
        text
    }

    /// The same figures for programs: times in microseconds, memory in KiB.
    pub fn json(&self) -> Value {
        let stages = self.stages.iter().map(|stage| {
            let budget = budget(stage.name);
            let (min, _) = spread(&stage.walls);
            json!({
                "stage": stage.name,
                "circumstances": stage.heading,
                "instructions": stage.instructions,
                "wall_us": spread_json(&stage.walls),
                "times_noop": self.times_noop(min),
                "peak_kib": stage.peak_kib,
                "budget": budget.json(),
            })
        });
        let runtimes = self.runtimes.iter().map(|runtime| {
            json!({
                "runtime": runtime.name,
                "container": runtime.case,
                "create_us": spread_json(&runtime.creates),
                "life_us": spread_json(&runtime.lives),
            })
        });
        let calls = self.calls.iter().map(|calls| {
            json!({
                "devices": calls.devices,
                "reserve": calls.reserve,
                "gpus": calls.gpus,
                "confirm": calls.confirm,
                "release": calls.release,
            })
        });
        json!({
            "nvml_calls": calls.collect::<Vec<_>>(),
            "machine": self.machine,
            "rounds": self.rounds,
            "stages": stages.collect::<Vec<_>>(),
            "runtimes": runtimes.collect::<Vec<_>>(),
        })
    }
}

/// The least and the median; zero where nothing was measured.
fn spread(times: &[Duration]) -> (Duration, Duration) {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    (at(0), at(sorted.len() / 2))
}

fn spread_json(times: &[Duration]) -> Value {
    let (min, median) = spread(times);
    match times.is_empty() {
        true => Value::Null,
        false => json!({"min": micros(min), "median": micros(median), "runs": times.len()}),
    }
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

fn millis(time: Duration) -> String {
    match time.is_zero() {
        true => "-".to_owned(),
        false => format!("{:.2}", time.as_secs_f64() * 1e3),
    }
}

fn counted(instructions: Option<u64>) -> String {
    instructions.map_or("-".to_owned(), thousands)
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
