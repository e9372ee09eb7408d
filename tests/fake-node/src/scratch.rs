//! A node for the length of a test.

use std::env;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::node::{self, Node};
use crate::spec::NodeSpec;

/// A node in the system's folder for temporary files, taken down when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    node: Node,
}

/// The folder of the nodes that belong to this repository.
pub fn nodes_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nodes")
}

impl Scratch {
    /// Brings up one of the repository's nodes by name: `dgx-a100`.
    pub fn up(name: &str) -> Result<Scratch> {
        Scratch::up_spec(&NodeSpec::read(&nodes_dir().join(format!("{name}.json")))?)
    }

    /// Brings up a node of one's own.
    pub fn up_spec(spec: &NodeSpec) -> Result<Scratch> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("fake-node-{}-{next}", process::id()));
        Ok(Scratch {
            node: node::up_spec(spec, &dir)?,
        })
    }
}

impl Deref for Scratch {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test may have taken it down itself.
        if self.node.dir().exists() {
            if let Err(error) = std::fs::remove_dir_all(self.node.dir()) {
                eprintln!("fake-node: leaving {}: {error}", self.node.dir().display());
            }
        }
    }
}
