use super::*;

/// A book, and a clock that stands still until it is moved.
struct Rig {
    book: Book,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self { book: Book::default(), now: Instant::now() }
    }

    fn fails(&mut self, why: &str) -> Option<Told> {
        self.tell(Report::NotEnrolled { why: why.to_owned() })
    }

    fn tell(&mut self, report: Report) -> Option<Told> {
        self.book.take(&PodUid("u1".to_owned()), report, self.now)
    }

    fn later(&mut self, by: Duration) {
        self.now += by;
    }
}

fn failure(why: &str, times: u32) -> Option<Told> {
    Some(Told::NotEnrolled { why: why.to_owned(), times })
}

#[test]
fn a_failure_is_told_once_and_then_from_time_to_time() {
    let mut rig = Rig::new();
    assert_eq!(rig.fails("no proxy"), failure("no proxy", 1));
    for _ in 0..10 {
        rig.later(Duration::from_secs(15));
        assert_eq!(rig.fails("no proxy"), None);
    }
    rig.later(REPEAT);
    assert_eq!(rig.fails("no proxy"), failure("no proxy", 12));
}

#[test]
fn a_new_reason_is_told_but_not_every_second() {
    let mut rig = Rig::new();
    assert_eq!(rig.fails("no proxy"), failure("no proxy", 1));
    assert_eq!(rig.fails("no rules"), None);
    rig.later(PAUSE);
    assert_eq!(rig.fails("no rules"), failure("no rules", 3));
}

#[test]
fn an_enrollment_is_told_only_after_a_failure() {
    let mut rig = Rig::new();
    assert_eq!(rig.tell(Report::Enrolled), None);
    rig.fails("no proxy");
    assert_eq!(rig.tell(Report::Enrolled), Some(Told::Recovered));
    assert_eq!(rig.tell(Report::Enrolled), None);
    assert_eq!(rig.fails("no proxy"), failure("no proxy", 1));
}

#[test]
fn a_pod_that_goes_in_and_out_is_not_told_each_time() {
    let mut rig = Rig::new();
    assert_eq!(rig.tell(Report::Withdrawn), Some(Told::Withdrawn));
    assert_eq!(rig.tell(Report::Withdrawn), None);
    rig.later(PAUSE);
    assert_eq!(rig.tell(Report::Withdrawn), Some(Told::Withdrawn));
    assert_eq!(rig.tell(Report::Enrolled), None, "it had not failed");
}

#[test]
fn a_pod_of_which_nothing_is_heard_is_forgotten() {
    let mut rig = Rig::new();
    rig.fails("no proxy");
    rig.later(FORGET);
    let other = PodUid("u2".to_owned());
    rig.book.take(&other, Report::Withdrawn, rig.now);
    assert_eq!(rig.book.0.keys().collect::<Vec<_>>(), [&other]);
}
