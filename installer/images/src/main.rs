//! `adit-images`: writes the images' archives from programs that cargo has built and packages that apt has.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use images::apt::Apt;
use images::assemble::{Parts, assemble};
use images::catalog::{IMAGES, Image, Linkage, Program};
use images::deb::{self, Package};
use images::reference::Reference;

/// Writes container images as archives for `kind load image-archive` and `ctr images import`.
#[derive(Debug, Parser)]
#[command(name = "adit-images", version)]
struct Args {
    /// Where cargo has put the programs
    #[arg(long, value_name = "DIR")]
    programs: PathBuf,
    /// Where cargo has put programs that are linked with nothing
    #[arg(long, value_name = "DIR")]
    static_programs: PathBuf,
    /// Where archives are written; packages are kept below it
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    out: PathBuf,
    /// What the images' names begin with
    #[arg(long, default_value = "ghcr.io/adit-mesh")]
    hub: String,
    /// Their tag
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// The commit that they are built from
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
}

#[expect(clippy::print_stderr, reason = "what a person asked for on the command line")]
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let apt = Apt::new(&args.out.join("packages"))?;
    let platform = apt.platform()?;
    let mut opened: BTreeMap<PathBuf, Package> = BTreeMap::new();
    let mut out = io::stdout().lock();
    for image in &IMAGES {
        let reference = Reference::new(&args.hub, image.name, &args.tag)?;
        let chosen = apt.choose(image.packages, image.alone)?;
        let files: Vec<PathBuf> = apt.fetch(&chosen)?.into_values().collect();
        for file in &files {
            if !opened.contains_key(file) {
                opened.insert(file.clone(), deb::open(file)?);
            }
        }
        let archive = assemble(&Parts {
            image,
            reference: reference.clone(),
            platform,
            version: env!("CARGO_PKG_VERSION"),
            revision: args.revision.as_deref(),
            packages: files.iter().filter_map(|file| opened.get(file)).collect(),
            programs: &programs(image, args)?,
        })?;
        let path = args.out.join(format!("{}.tar", image.name));
        replace(&path, &archive.bytes).with_context(|| format!("write {}", path.display()))?;
        writeln!(
            out,
            "{} {:.1} MB {reference}@{}",
            path.display(),
            megabytes(&archive.bytes),
            archive.digest
        )?;
        for wanted in &chosen {
            writeln!(out, "    {} {}", wanted.name, wanted.version)?;
        }
    }
    Ok(())
}

/// The programs of an image, as cargo has built them.
fn programs(image: &Image, args: &Args) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let read = |program: &Program| {
        let folder = match program.linkage {
            Linkage::Shared => &args.programs,
            Linkage::Static => &args.static_programs,
        };
        let path = folder.join(program.name);
        let bytes = fs::read(&path);
        let bytes =
            bytes.with_context(|| format!("read {}: build it, as `make images` does", path.display()))?;
        Ok((program.name.to_owned(), bytes))
    };
    image.programs.iter().map(read).collect()
}

/// A reader never sees half an archive.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("tar.new");
    fs::write(&aside, bytes)?;
    fs::rename(aside, path)
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn megabytes(bytes: &[u8]) -> f64 {
    bytes.len() as f64 / 1e6
}
