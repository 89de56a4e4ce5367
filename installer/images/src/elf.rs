//! Whether programs find in an image what they are linked with.

use object::elf::DT_NEEDED;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, Object};

use crate::catalog::Linkage;
use crate::platform::Platform;
use crate::tree::{Kind, Tree};

/// A program that would not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ElfError {
    /// It is no program at all.
    #[error("{path} is no ELF program: {why}")]
    NoProgram {
        /// Where it is in the image.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is for another machine.
    #[error("{path} is built for {built:?}, the image is for {image}: build it on such a machine")]
    Machine {
        /// Where it is in the image.
        path: String,
        /// What it is built for.
        built: object::Architecture,
        /// What the image is for.
        image: &'static str,
    },
    /// A library is not in the image.
    #[error("{path} needs {library}, which no package of the image has: add that package to the catalog")]
    Library {
        /// Where it is in the image.
        path: String,
        /// What it asks for.
        library: String,
    },
    /// It asks nodes for libraries that they may not have.
    #[error(
        "{path} runs on nodes, outside the image, and needs {library} there: \
         build it with RUSTFLAGS=\"-C target-feature=+crt-static\", as `make images` does"
    )]
    Shared {
        /// Where it is in the image.
        path: String,
        /// What it asks for.
        library: String,
    },
}

/// What a program or library asks for before it runs.
struct Needs {
    machine: object::Architecture,
    /// The dynamic linker first, then libraries by their names.
    interpreter: Option<String>,
    libraries: Vec<String>,
}

/// Checks a program of ours.
///
/// # Errors
/// It would not start in the image, or not on every node when it has to be static.
pub fn check_program(path: &str, tree: &Tree, linkage: Linkage, on: Platform) -> Result<(), ElfError> {
    let no_program = |why: &str| ElfError::NoProgram { path: path.to_owned(), why: why.to_owned() };
    let Some(Kind::File(bytes)) = tree.resolve(path).map(|entry| &entry.kind) else {
        return Err(no_program("it is no file"));
    };
    let needs = Needs::of(bytes).map_err(|error| no_program(&error.to_string()))?;
    if needs.machine != on.machine {
        return Err(ElfError::Machine { path: path.to_owned(), built: needs.machine, image: on.debian });
    }
    let first = || needs.interpreter.iter().chain(&needs.libraries).next().cloned();
    match (linkage, first()) {
        (Linkage::Static, Some(library)) => Err(ElfError::Shared { path: path.to_owned(), library }),
        (Linkage::Static, None) => Ok(()),
        (Linkage::Shared, _) => needs.check(path, tree),
    }
}

/// Checks every program and library that is there.
///
/// # Errors
/// One asks for a library that is not.
pub fn check_libraries(tree: &Tree) -> Result<(), ElfError> {
    for (path, entry) in tree.iter() {
        let Kind::File(bytes) = &entry.kind else { continue };
        if !bytes.starts_with(MAGIC) {
            continue;
        }
        let broken =
            |error: object::Error| ElfError::NoProgram { path: path.to_owned(), why: error.to_string() };
        Needs::of(bytes).map_err(broken)?.check(path, tree)?;
    }
    Ok(())
}

impl Needs {
    fn of(bytes: &[u8]) -> Result<Self, object::Error> {
        let file: ElfFile64<'_, Endianness> = ElfFile64::parse(bytes)?;
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let endian = file.endian();
        let mut interpreter = None;
        for header in file.elf_program_headers() {
            if let Some(path) = header.interpreter(endian, bytes)? {
                interpreter = Some(text(path));
            }
        }
        let table = file.elf_dynamic_table()?;
        let needed = table.iter().filter(|entry| entry.tag == DT_NEEDED);
        let libraries = needed.map(|entry| table.string(entry).map(text)).collect::<Result<_, _>>()?;
        Ok(Self { machine: file.architecture(), interpreter, libraries })
    }

    fn check(&self, path: &str, tree: &Tree) -> Result<(), ElfError> {
        let is_there =
            |path: &str| tree.resolve(path).is_some_and(|entry| matches!(entry.kind, Kind::File(_)));
        let is_found = |library: &str| FOLDERS.iter().any(|folder| is_there(&format!("{folder}/{library}")));
        let missing = self.interpreter.iter().find(|path| !is_there(path));
        let missing = missing.or_else(|| self.libraries.iter().find(|library| !is_found(library)));
        match missing {
            None => Ok(()),
            Some(library) => Err(ElfError::Library { path: path.to_owned(), library: library.clone() }),
        }
    }
}

/// Where Debian's dynamic linkers look without being told.
const FOLDERS: [&str; 4] = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib", "usr/lib64"];
const MAGIC: &[u8] = b"\x7fELF";

#[cfg(test)]
mod tests;
