//! A cgroup v2 device program with a few devices allowed ahead of it. Pure.
//!
//! The kernel runs the program with r1 pointing to `struct bpf_cgroup_dev_ctx` (access and type, major, minor) and
//! takes 1 as yes, 0 as no. Nothing but r1 and the stack pointer is set at entry, so a block put in front may use
//! every other register, as long as it leaves r1 alone and falls through to the old first instruction.

#![forbid(unsafe_code)]

use super::bpf::Instruction;
use crate::edits::{Access, DeviceNode};

const TYPE_CHARACTER: i32 = 2;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

// Opcodes: class, operation, source.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const AND_CONSTANT: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF_NOT_32: u8 = 0x56;
const EXIT: u8 = 0x95;
const CALL: u8 = 0x85;

// Registers.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
const SCRATCH: u8 = 5;
/// The last register that a program may name; the one above is the kernel's own.
const FRAME: u8 = 10;

/// Instructions that one device takes.
const PER_DEVICE: usize = 7;

/// `original` with exactly `nodes` allowed ahead of it; all else it decides as before.
///
/// The error says what is in `original` that can't be loaded a second time with certainty of the same meaning.
pub fn allow_first(nodes: &[DeviceNode], original: &[Instruction]) -> Result<Vec<Instruction>, String> {
    movable(original)?;
    let mut program = entry(nodes.len())?;
    for node in nodes {
        program.extend(allow(node));
    }
    program.extend_from_slice(original);
    Ok(program)
}

/// Loads what is asked for; what isn't a character device goes past all devices at once.
fn entry(devices: usize) -> Result<Vec<Instruction>, String> {
    let past_all =
        i16::try_from(devices * PER_DEVICE).map_err(|_| format!("{devices} devices are too many"))?;
    Ok(vec![
        instruction(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        instruction(MOVE, SCRATCH, ACCESS, 0, 0),
        instruction(AND_CONSTANT, SCRATCH, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(JUMP_IF_NOT, SCRATCH, 0, past_all, TYPE_CHARACTER),
    ])
}

/// Answers yes to `node`'s number for no more than its access, or goes on to what follows.
fn allow(node: &DeviceNode) -> [Instruction; PER_DEVICE] {
    let allowed = match node.access {
        Access::Read => ACCESS_READ,
        Access::ReadWrite => ACCESS_READ | ACCESS_WRITE,
    };
    let number = |part: u32| part as i32;
    [
        instruction(MOVE, SCRATCH, ACCESS, 0, 0),
        instruction(AND_CONSTANT, SCRATCH, 0, 0, !allowed),
        instruction(JUMP_IF_NOT, SCRATCH, 0, 4, 0),
        // Numbers are compared as 32 bits: a 64-bit comparison would extend the constant's sign.
        instruction(JUMP_IF_NOT_32, MAJOR, 0, 3, number(node.number.major)),
        instruction(JUMP_IF_NOT_32, MINOR, 0, 2, number(node.number.minor)),
        instruction(MOVE_CONSTANT, ANSWER, 0, 0, 1),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: from << 4 | to,
        offset,
        immediate,
    }
}

/// Whether a dumped program means the same when it is loaded again further down: arithmetic, plain memory access
/// and relative jumps only. Calls and 64-bit constants don't come back from a dump as they went in: it shows ids and
/// addresses of this kernel in their place.
fn movable(program: &[Instruction]) -> Result<(), String> {
    if program.is_empty() {
        return Err("the kernel doesn't show its instructions".to_owned());
    }
    for (at, instruction) in program.iter().enumerate() {
        let why = if instruction.code == CALL {
            "a call"
        } else if !is_plain(instruction.code) {
            "an instruction that a dump doesn't show as it was written"
        } else if instruction.registers >> 4 > FRAME || instruction.registers & 0xf > FRAME {
            "the kernel's own register (constants are blinded: net.core.bpf_jit_harden=2)"
        } else {
            continue;
        };
        return Err(format!("its instruction {at} is {why}"));
    }
    Ok(())
}

fn is_plain(code: u8) -> bool {
    let (mode, operation) = (code & 0xe0, code & 0xf0);
    match code & 0x07 {
        // Loads of 64-bit constants and of packets.
        0 => false,
        // Loads and stores: of memory, as they are.
        1..=3 => mode == 0x60,
        // Arithmetic.
        4 | 7 => operation <= 0xd0,
        // Jumps: all the relative ones and exit, no call.
        _ => operation <= 0xd0 && operation != 0x80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mig::DeviceNumber;

    /// What runc and crun attach for "deny all": `r0 = 0; exit`.
    const DENY: [Instruction; 2] = [
        Instruction {
            code: MOVE_CONSTANT,
            registers: 0,
            offset: 0,
            immediate: 0,
        },
        Instruction {
            code: EXIT,
            registers: 0,
            offset: 0,
            immediate: 0,
        },
    ];

    fn node(major: u32, minor: u32, access: Access) -> DeviceNode {
        DeviceNode {
            path: "/dev/x".into(),
            host_path: "/dev/x".into(),
            number: DeviceNumber { major, minor },
            access,
            mode: 0o444,
            uid: 0,
            gid: 0,
        }
    }

    /// Runs `program` as the kernel would, for the few instructions that ours use.
    fn asks(program: &[Instruction], kind: u64, access: u64, major: u64, minor: u64) -> u64 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0;
        loop {
            let Instruction {
                code,
                registers: names,
                offset,
                immediate,
            } = program[at];
            let (to, from) = ((names & 0xf) as usize, (names >> 4) as usize);
            at += 1;
            match code {
                LOAD_WORD => registers[to] = context[offset as usize / 4],
                MOVE => registers[to] = registers[from],
                MOVE_CONSTANT => registers[to] = immediate as u64,
                AND_CONSTANT => registers[to] &= immediate as i64 as u64,
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP_IF_NOT if registers[to] != immediate as i64 as u64 => at += offset as usize,
                JUMP_IF_NOT_32 if registers[to] as u32 != immediate as u32 => at += offset as usize,
                JUMP_IF_NOT | JUMP_IF_NOT_32 => {}
                EXIT => return registers[0],
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    #[test]
    fn exactly_the_nodes_are_allowed() {
        let nodes = [
            node(195, 255, Access::ReadWrite),
            node(237, 12, Access::Read),
            node(4095, 0xf_ffff, Access::Read),
        ];
        let program = allow_first(&nodes, &DENY).unwrap();
        let (block, character) = (1, 2);
        let (make, read, write) = (1, 2, 4);
        for (major, minor, access) in [
            (195, 255, read),
            (195, 255, read | write),
            (237, 12, read),
            (4095, 0xf_ffff, read),
        ] {
            assert_eq!(
                asks(&program, character, access, major, minor),
                1,
                "{major}:{minor} {access}"
            );
            assert_eq!(
                asks(&program, block, access, major, minor),
                0,
                "block {major}:{minor}"
            );
        }
        for (major, minor, access) in [
            (195, 254, read),
            (194, 255, read),
            (237, 12, write),
            (237, 12, read | write),
            (237, 11, read),
            (195, 255, make),
            (195, 255, make | read | write),
        ] {
            assert_eq!(
                asks(&program, character, access, major, minor),
                0,
                "{major}:{minor} {access}"
            );
        }
        assert_eq!(
            asks(&allow_first(&[], &DENY).unwrap(), character, read, 195, 255),
            0
        );
    }

    #[test]
    fn the_old_program_is_kept_whole() {
        let program = allow_first(&[node(195, 0, Access::Read)], &DENY).unwrap();
        assert_eq!(program[program.len() - 2..], DENY);
    }

    #[test]
    fn what_may_change_its_meaning_is_refused() {
        let one = |code| instruction(code, 0, 0, 0, 0);
        let constant = [one(0x18), one(0), DENY[0], DENY[1]];
        for (bad, why) in [
            (vec![one(CALL), DENY[1]], "instruction 0 is a call"),
            (vec![DENY[0], one(0x8d), DENY[1]], "instruction 1 is"),
            (vec![one(0xe5), DENY[1]], "a dump doesn't show"),
            (constant.to_vec(), "a dump doesn't show"),
            (vec![one(0xdb), DENY[1]], "a dump doesn't show"),
            (vec![instruction(MOVE_CONSTANT, 11, 0, 0, 1)], "bpf_jit_harden"),
            (vec![], "doesn't show its instructions"),
        ] {
            let said = allow_first(&[node(195, 0, Access::Read)], &bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn more_devices_than_a_jump_can_pass_are_refused() {
        let nodes = vec![node(195, 0, Access::Read); 5000];
        assert!(allow_first(&nodes, &DENY).unwrap_err().contains("too many"));
    }
}
