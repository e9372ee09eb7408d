//! Measures oci-mig-hook on a simulated node of 8 GPUs with 7 MIG devices each, beside a program that does nothing.
//! `tests/bench/run` builds and calls this. It prints figures and the budget beside them; it holds nothing against
//! anything, because machines differ.
//!
//! ```text
//! process.rs     one run of a program
//! nodes.rs       nodes of other sizes, and ledgers that have seen much
//! meter.rs       by the clock, or counting instructions
//! documents.rs   what engines and runtimes hand to hooks
//! interposed.rs  oci-mig-runtime before a runtime that does nothing
//! container.rs   a stand-in for a container
//! stages.rs      the stages of a container's life
//! runtimes.rs    containers on real runtimes, and with Podman
//! report.rs      the table, and JSON
//! self_exe.rs    preloaded under valgrind
//! ```

mod container;
mod documents;
mod interposed;
mod meter;
mod nodes;
mod process;
mod report;
mod runtimes;
mod stages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fake_node::Node;
use interposed::Interposed;
use meter::Meter;
use report::{Report, Runtime, Stage};
use runtimes::{Case, Ground, RUNTIMES};
use stages::{Bench, Calls, Round};

/// All but one of the node's 56 devices, so that a container is still let in.
const NEARLY_ALL: usize = 55;

#[derive(Parser)]
struct Cli {
    /// A node that is up and has no leases
    node: PathBuf,
    /// An empty folder for what the containers need
    folder: PathBuf,
    /// JSON into FILE beside the table, or instead of it where none is named
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
    /// How often each stage is run
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// How often each container is run on the real runtimes; 0 leaves them out
    #[arg(long, default_value_t = 20)]
    containers: usize,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let program = std::env::current_exe()?;
    let programs = program.parent().context("where is this program?")?;
    let node = Node::open(&cli.node)?;
    let mut report = Report {
        machine: machine()?,
        rounds: cli.rounds,
        ..Report::default()
    };
    // Before orphans become ours: containers are.
    if cli.containers > 0 {
        report.runtimes = containers(programs, &node, &cli.folder, cli.containers)?;
    }
    process::adopt_orphans()?;
    // On the same file system as the node's own ledger.
    let ledger = |name: &str| node.dir().join("run").join(name);
    report.calls = all_calls(programs, &node, &cli.folder, &ledger("small"))?;
    report.stages = all_stages(programs, &node, &cli.folder, cli.rounds)?;
    report.stages.extend(much_in_the_ledger(
        programs,
        &cli.folder,
        &ledger("full"),
        cli.rounds,
    )?);
    match &cli.json {
        Some(None) => println!("{:#}", report.json()),
        Some(Some(file)) => {
            fs::write(file, format!("{:#}\n", report.json())).with_context(|| file.display().to_string())?;
            print!("{}", report.table());
        }
        None => print!("{}", report.table()),
    }
    Ok(())
}

fn all_stages(programs: &Path, node: &Node, folder: &Path, rounds: usize) -> Result<Vec<Stage>> {
    let callgrind = Meter::callgrind(programs, folder);
    let mut bench = Bench::new(programs, node);
    let mut interposed = Interposed::new(programs, node, folder)?;
    bench.full_look(&Meter::Clock)?;
    let mut stages = measure("", rounds, Some(&callgrind), |meter| {
        let mut round = bench.passing(meter)?;
        round.extend(bench.life(meter)?);
        round.extend(interposed.round()?);
        Ok(round)
    })?;
    stages.extend(measure("", rounds, Some(&callgrind), |meter| {
        bench.full_look(meter)
    })?);
    let files = "with the driver's files, compute and utility:";
    bench.config = nodes::with_driver_files(node, folder)?;
    // By the clock alone: valgrind knows no openat2.
    stages.extend(measure(files, rounds, None, |meter| {
        Ok(vec![("reserves, driver's files", bench.reservation(meter)?)])
    })?);
    bench.config = node.config();
    let slow = "NVML's init takes 10 ms, and the first call that needs a GPU 5 ms:";
    node.set(&["init_ms=10", "first_touch_ms=5"])?;
    stages.extend(measure(slow, rounds, None, |meter| {
        Ok(vec![("reserves, slow NVML", bench.reservation(meter)?)])
    })?);
    node.set(&["init_ms=", "first_touch_ms="])?;
    bench.hold(NEARLY_ALL)?;
    let held = "with 55 of the node's devices held:";
    stages.extend(measure(held, rounds, Some(&callgrind), |meter| {
        bench.life(meter)
    })?);
    Ok(stages)
}

/// A ledger that has seen much, on a node that is larger still.
fn much_in_the_ledger(programs: &Path, folder: &Path, ledger: &Path, rounds: usize) -> Result<Vec<Stage>> {
    let node = nodes::of(nodes::LEASES / 7 + 1, folder, ledger)?;
    let mut bench = Bench::new(programs, &node);
    bench.hold(nodes::LEASES)?;
    nodes::leave_behind(ledger)?;
    let heading = "112 leases, and 10,000 files of crashed writers in the ledger, none of which is removed:";
    let stages = measure(heading, rounds, None, |meter| {
        Ok(vec![("reserves, full ledger", bench.reservation(meter)?)])
    })?;
    ensure!(
        nodes::left_behind(ledger)? == nodes::LEFTOVERS as usize,
        "what crashed writers left was touched"
    );
    Ok(stages)
}

/// What a container's life asks of NVML on a node of one GPU and on the one that is measured on.
fn all_calls(programs: &Path, node: &Node, folder: &Path, ledger: &Path) -> Result<Vec<Calls>> {
    let small = nodes::of(1, folder, ledger)?;
    Ok(vec![
        Bench::new(programs, &small).calls()?,
        Bench::new(programs, node).calls()?,
    ])
}

/// Rounds by the clock, all stages in each, so that a busy moment of the machine hits all alike; then one that counts.
fn measure(
    heading: &'static str,
    rounds: usize,
    callgrind: Option<&Meter>,
    mut round: impl FnMut(&Meter) -> Result<Round>,
) -> Result<Vec<Stage>> {
    // The first is for the caches.
    round(&Meter::Clock)?;
    let counted = round(callgrind.unwrap_or(&Meter::Clock))?;
    let mut stages: Vec<Stage> = counted
        .into_iter()
        .map(|(name, figures)| Stage {
            name,
            heading,
            instructions: Some(figures.instructions).filter(|count| *count > 0),
            walls: Vec::with_capacity(rounds),
            peak_kib: 0,
        })
        .collect();
    for _ in 0..rounds {
        for (stage, (_, figures)) in stages.iter_mut().zip(round(&Meter::Clock)?) {
            stage.walls.push(figures.wall);
            stage.peak_kib = stage.peak_kib.max(figures.peak_kib);
        }
    }
    Ok(stages)
}

fn containers(programs: &Path, node: &Node, folder: &Path, count: usize) -> Result<Vec<Runtime>> {
    let mut ground = Ground::prepare(programs, node, folder)?;
    let mut rows = Vec::new();
    for runtime in RUNTIMES {
        let mut cases = Case::ALL.map(|case| (case, Vec::new(), Vec::new()));
        for _ in 0..count {
            for (case, creates, lives) in &mut cases {
                let life = ground.live(runtime, *case)?;
                creates.push(life.create);
                lives.push(life.whole);
            }
        }
        rows.extend(cases.map(|(case, creates, lives)| Runtime {
            name: runtime.to_owned(),
            case: case.name(),
            creates,
            lives,
        }));
    }
    ground.prepare_podman()?;
    for runtime in RUNTIMES {
        let mut lives = [("didn't ask", false), ("asked", true)].map(|(name, asks)| (name, asks, Vec::new()));
        for _ in 0..count {
            for (_, asks, lives) in &mut lives {
                lives.push(ground.podman(runtime, *asks)?);
            }
        }
        rows.extend(lives.map(|(case, _, lives)| Runtime {
            name: format!("podman, {runtime}"),
            case,
            creates: Vec::new(),
            lives,
        }));
    }
    Ok(rows)
}

fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, name)| name);
    let count = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {count} CPUs, Linux {}", kernel.trim()))
}
