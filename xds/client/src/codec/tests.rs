use proptest::prelude::{ProptestConfig, any, prop, proptest};
use prost::Message;
use prost::bytes::Bytes;
use prost_types::Any;
use tonic::Code;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};

use super::{FIELDS, Fields, count, decode};

const SMALL: Fields = Fields { response: 5, nested: 10 };

fn response(resources: usize) -> DeltaDiscoveryResponse {
    let resource = |index: usize| Resource {
        name: format!("resource-{index}"),
        version: "1".to_owned(),
        resource: Some(Any { type_url: "t".to_owned(), value: vec![0xff; 3] }),
        ..Default::default()
    };
    DeltaDiscoveryResponse {
        type_url: "t".to_owned(),
        nonce: "n".to_owned(),
        resources: (0..resources).map(resource).collect(),
        ..Default::default()
    }
}

#[track_caller]
fn refused(bytes: Vec<u8>, code: Code) {
    let status = decode(Bytes::from(bytes), &SMALL).unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
}

#[test]
fn a_response_within_bounds_is_read_whole() {
    let response = response(3);
    assert_eq!(decode(Bytes::from(response.encode_to_vec()), &SMALL).unwrap(), response);
}

#[test]
fn more_resources_than_are_taken_are_not_decoded() {
    refused(response(4).encode_to_vec(), Code::OutOfRange);
}

#[test]
fn many_tiny_fields_in_one_resource_are_not_decoded() {
    let aliases = vec![String::new(); 11];
    let resources = vec![Resource { aliases, ..Default::default() }];
    refused(DeltaDiscoveryResponse { resources, ..Default::default() }.encode_to_vec(), Code::OutOfRange);
}

#[test]
fn a_damaged_end_does_not_hide_what_comes_before_it() {
    let mut aliases = [0x22, 0x00].repeat(11);
    aliases.push(0xff);
    let mut bytes = vec![0x12, 23];
    bytes.extend(aliases);
    refused(bytes, Code::OutOfRange);
}

#[test]
fn a_group_does_not_hide_what_comes_after_it() {
    let mut bytes = vec![0x7b, 0x7c];
    bytes.extend(response(4).encode_to_vec());
    refused(bytes, Code::OutOfRange);
}

#[test]
fn damaged_bytes_are_an_error() {
    refused(vec![0x12, 0x7f, 0x00], Code::Internal);
    // Well framed, but the type URL is no UTF-8.
    refused(vec![0x22, 0x01, 0xff], Code::Internal);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_can_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(Bytes::from(bytes), &FIELDS).ok();
    }

    #[test]
    fn a_message_has_as_many_fields_as_were_written(resources in 0_usize..50) {
        let bytes = response(resources).encode_to_vec();
        assert_eq!(count(&bytes, |_, _| ()), resources + 2);
    }
}
