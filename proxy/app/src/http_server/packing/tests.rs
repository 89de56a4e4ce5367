//! What a client accepts, and that it can unpack what it gets.

use std::io::Read;

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, HeaderMap};

use super::Packing;

#[test]
fn the_best_of_what_the_client_accepts_is_taken() {
    for (accept, want) in [
        (&["gzip"][..], Some(Packing::Gzip)),
        (&["gzip, deflate, br, zstd"], Some(Packing::Gzip)),
        (&["br", "deflate"], Some(Packing::Deflate)),
        (&["gzip;q=0.2, deflate;q=0.8"], Some(Packing::Deflate)),
        (&["GZip;Q=0.5"], Some(Packing::Gzip)),
        (&["*"], Some(Packing::Gzip)),
        (&["gzip;q=0, *;q=0.1"], Some(Packing::Deflate)),
        (&["gzip;q=0"], None),
        (&["gzip;q=0.5, identity"], None),
        (&["br, zstd"], None),
        (&["identity"], None),
        (&[""], None),
        (&[], None),
    ] {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(Packing::of(&headers), want, "{accept:?}");
    }
}

#[test]
fn what_is_packed_unpacks_to_the_same() {
    let body = "istio_tcp_connections_opened_total{reporter=\"source\"} 1\n".repeat(1_000);
    for packing in [Packing::Gzip, Packing::Deflate] {
        let packed = packing.pack(body.as_bytes()).expect("it packs");
        assert!(packed.len() < body.len() / 10, "{packing:?}: {} bytes", packed.len());
        let mut unpacked = String::new();
        match packing {
            Packing::Gzip => flate2::read::GzDecoder::new(&*packed).read_to_string(&mut unpacked),
            Packing::Deflate => flate2::read::ZlibDecoder::new(&*packed).read_to_string(&mut unpacked),
        }
        .expect("it unpacks");
        assert_eq!(unpacked, body);
    }
}
