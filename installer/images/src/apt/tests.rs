use super::*;

const PRINTED: &str = "\
'http://deb.debian.org/debian/pool/main/g/gmp/libgmp10_6.2.1%2bdfsg1-1.1_amd64.deb' libgmp10_2%3a6.2.1+dfsg1-1.1_amd64.deb 562588 MD5Sum:2209
'http://deb.debian.org/debian/pool/main/n/netbase/netbase_6.4_all.deb' netbase_6.4_all.deb 12800 SHA256:8142

'http://deb.debian.org/debian/pool/main/n/netbase/netbase_6.4_all.deb' netbase_6.4_all.deb 12800 SHA256:8142
";

#[test]
fn what_apt_would_fetch_is_read_once_each_epochs_included() {
    let wanted = |name: &str, version: &str, file: &str| Wanted {
        name: name.to_owned(),
        version: version.to_owned(),
        file: file.to_owned(),
    };
    let want = [
        wanted("libgmp10", "2:6.2.1+dfsg1-1.1", "libgmp10_2%3a6.2.1+dfsg1-1.1_amd64.deb"),
        wanted("netbase", "6.4", "netbase_6.4_all.deb"),
    ];
    assert_eq!(read(PRINTED).unwrap(), want);
}

#[test]
fn words_of_apt_that_name_no_package_are_not_passed_over() {
    for line in ["Reading package lists...", "'http://a' b.tar 1 MD5Sum:2", "'http://a' a_b.deb 1 MD5Sum:2"] {
        assert!(matches!(read(line), Err(AptError::Line(told)) if told == line), "{line}");
    }
}

#[test]
fn a_machine_that_no_image_is_made_for_is_named() {
    assert_eq!(Platform::of_debian("arm64").unwrap().variant, Some("v8"));
    let refused = Platform::of_debian("riscv64").unwrap_err();
    assert!(refused.to_string().contains("riscv64"), "{refused}");
}
