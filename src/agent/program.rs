//! The agent's program file: is it whole, as far as one sees without running it?

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use object::Endianness;
use object::elf::FileHeader64;
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use crate::system::text::io_problem;

/// What is wrong with the program at `path`, if anything is. An interrupted install leaves it missing, empty or cut short.
pub fn damage(path: &Path) -> Option<String> {
    let found = match File::open(path) {
        Ok(file) => examine(file)
            .unwrap_or_else(|error| Some(format!("cannot be read: {}", io_problem(&error)))),
        // An ordinary user may not be allowed to read it; that is no damage.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(format!("cannot be used: {}", io_problem(&error))),
    };
    found.map(|damage| format!("{} {damage}", path.display()))
}

fn examine(mut file: File) -> io::Result<Option<String>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Some("is not a file".into()));
    }
    if metadata.len() == 0 {
        return Ok(Some("is empty".into()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Ok(Some("cannot be executed".into()));
    }
    let mut magic = [0; 5];
    let read = file.read(&mut magic)?;
    if magic[..read] != *b"\x7fELF\x02" {
        // A script, or a program of another word length: only running it tells.
        return Ok(None);
    }
    let whole = end_of_contents(&ReadCache::new(file));
    Ok(match whole {
        Ok(end) if end <= metadata.len() => None,
        Ok(end) => Some(format!(
            "is cut short: it has {} bytes of {end}",
            metadata.len()
        )),
        Err(_) => Some("is cut short: its header is not whole".into()),
    })
}

/// Where the last thing that the file's own tables speak of ends.
fn end_of_contents(data: &ReadCache<File>) -> object::Result<u64> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let mut end = 0;
    for segment in header.program_headers(endian, data)? {
        end = end.max(
            segment
                .p_offset(endian)
                .saturating_add(segment.p_filesz(endian)),
        );
    }
    let sections = header.section_headers(endian, data)?;
    for section in sections {
        if let Some((offset, size)) = section.file_range(endian) {
            end = end.max(offset.saturating_add(size));
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn own() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn a_whole_program_is_whole() {
        assert_eq!(damage(&own()), None);
        assert_eq!(damage(Path::new("/bin/sh")), None);
    }

    #[test]
    fn a_program_cut_anywhere_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::copy(own(), &path).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        for end in [length - 1, length - 4096, length / 2, 4096, 64, 5] {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(end)
                .unwrap();
            let said = damage(&path).unwrap_or_default();
            assert!(said.contains("is cut short"), "{end} of {length}: {said}");
        }
    }

    #[test]
    fn what_is_no_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let said = || damage(&path).unwrap_or_default();
        assert!(
            said().ends_with("program cannot be used: there is no such file or directory"),
            "{}",
            said()
        );
        fs::write(&path, "").unwrap();
        assert!(said().ends_with("is empty"), "{}", said());
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(said().ends_with("cannot be executed"), "{}", said());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(said(), "", "a script may be what somebody wants");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(said().ends_with("is not a file"), "{}", said());
    }
}
