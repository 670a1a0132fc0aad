//! Zip archives of templates, good ones and bad ones.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// An archive of text files.
pub fn template_zip(files: &[(&str, &str)]) -> Vec<u8> {
    zip_of(files.iter().map(|(name, content)| (*name, content.as_bytes())))
}

/// An archive of anything, with names as they are given.
pub fn zip_of<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(name, SimpleFileOptions::default()).expect("an entry starts");
        writer.write_all(content).expect("an entry is written");
    }
    writer.finish().expect("the archive ends").into_inner()
}

/// An archive of a good file and a symbolic link.
pub fn zip_with_symlink(main: &str) -> Vec<u8> {
    let options = SimpleFileOptions::default();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("main.tf", options).expect("an entry starts");
    writer.write_all(main.as_bytes()).expect("an entry is written");
    writer.add_symlink("link.tf", "/etc/passwd", options).expect("a link is written");
    writer.finish().expect("the archive ends").into_inner()
}
