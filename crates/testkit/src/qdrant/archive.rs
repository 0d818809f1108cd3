//! A directory as one file, and back.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Writes everything in `directory` into a new file.
pub(super) fn pack(directory: &Path, file: &Path) -> io::Result<()> {
    let mut writer = ZipWriter::new(File::create(file)?);
    add(&mut writer, directory, "")?;
    writer.finish()?;
    Ok(())
}

/// Writes what [`pack`] has packed into a new directory.
pub(super) fn unpack(file: &Path, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    ZipArchive::new(File::open(file)?)?.extract(directory)?;
    Ok(())
}

fn add(writer: &mut ZipWriter<File>, directory: &Path, prefix: &str) -> io::Result<()> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            writer.add_directory(name.as_str(), options)?;
            add(writer, &entry.path(), &format!("{name}/"))?;
        } else {
            writer.start_file(name.as_str(), options)?;
            io::copy(&mut File::open(entry.path())?, writer)?;
        }
    }
    Ok(())
}
