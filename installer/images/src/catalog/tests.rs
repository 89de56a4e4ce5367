use std::collections::BTreeSet;

use super::*;

#[test]
fn what_licences_say_stays_and_other_documents_go() {
    assert!(is_wanted("usr/share/doc/libc6/copyright"));
    assert!(is_wanted("usr/share/doc/libgcc-s1"));
    assert!(is_wanted("usr/share/common-licenses/GPL-3"));
    assert!(!is_wanted("usr/share/doc/libc6/NEWS.gz"));
    assert!(!is_wanted("usr/share/doc/nftables/examples/README"));
    assert!(!is_wanted("usr/share/man/man8/nft.8.gz"));
}

#[test]
fn libraries_and_what_iptables_loads_stay_and_character_sets_go() {
    assert!(is_wanted("usr/lib/x86_64-linux-gnu/libc.so.6"));
    assert!(is_wanted("usr/lib/x86_64-linux-gnu/xtables/libxt_REDIRECT.so"));
    assert!(!is_wanted("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so"));
    assert!(!is_wanted("usr/lib/x86_64-linux-gnu/gconv"));
}

#[test]
fn a_path_is_left_out_with_all_below_it_and_nothing_beside_it() {
    assert!(!is_wanted("var/run"));
    assert!(!is_wanted("usr/src/linux"));
    assert!(is_wanted("var/runner"));
    assert!(is_wanted("var/lib"));
    assert!(!is_wanted("usr/sbin/iptables-apply"));
    assert!(is_wanted("usr/sbin/iptables-legacy"));
}

#[test]
fn every_image_starts_a_program_that_it_holds_and_none_has_the_name_of_another() {
    let names: BTreeSet<_> = IMAGES.iter().map(|image| image.name).collect();
    assert_eq!(names.len(), IMAGES.len());
    for image in IMAGES {
        let held = image.programs.iter().any(|program| image.entrypoint == format!("/{}", program.path));
        assert!(held, "{}", image.name);
    }
}

#[test]
fn the_plugin_is_where_the_agent_takes_it_from_and_needs_no_library_of_the_node() {
    let agent = IMAGES.into_iter().find(|image| image.name == "adit-node-agent").unwrap();
    let plugin = agent.programs.iter().find(|program| program.name == "adit-cni").unwrap();
    assert_eq!(plugin.path, "opt/cni/bin/adit-cni");
    assert_eq!(plugin.linkage, Linkage::Static);
}
