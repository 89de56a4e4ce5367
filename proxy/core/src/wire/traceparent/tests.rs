//! What names a trace, and what does not.

use proptest::prelude::*;

use super::{ParseTraceparentError, Traceparent};

#[test]
fn a_new_trace_is_not_sampled() {
    let header =
        Traceparent::new(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331).to_string();
    assert_eq!(header, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
}

#[test]
fn a_trace_of_zeros_is_never_written() {
    assert_eq!(Traceparent::new(0, 0).to_string(), "00-00000000000000000000000000000001-0000000000000001-00");
}

#[test]
fn what_is_not_four_groups_of_digits_is_refused() {
    for text in [
        "",
        "0000000000000000000000000000000000000000000000000000000",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "00-00000000000000000000000000000000-b7ad6b7169203331-00",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00",
        "------------------------------------------------------ ",
    ] {
        assert_eq!(text.parse::<Traceparent>(), Err(ParseTraceparentError), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}") {
        let _ = text.parse::<Traceparent>();
    }

    #[test]
    fn dashes_and_digits_are_read_or_refused(text in "[0-9a-f-]{55}") {
        let _ = text.parse::<Traceparent>();
    }

    #[test]
    fn what_is_written_is_read(trace in 1_u128.., parent in 1_u64..) {
        let written = Traceparent::new(trace, parent);
        let read: Traceparent = written.to_string().parse().unwrap();
        prop_assert_eq!(read, written);
        prop_assert_eq!((read.trace_id(), read.parent_id()), (trace, parent));
    }
}
