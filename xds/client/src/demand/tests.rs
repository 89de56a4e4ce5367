use tokio::task::yield_now;

use super::*;

#[tokio::test(start_paused = true)]
async fn lookups_of_one_key_share_a_question() {
    let (demand, mut questions) = demand();
    let ask = || {
        let demand = demand.clone();
        tokio::spawn(async move { demand.ask("/10.0.0.1").await })
    };
    let (first, second) = (ask(), ask());
    assert_eq!(questions.next().await, "/10.0.0.1");
    let joined = timeout(Duration::from_millis(1), questions.next()).await;
    assert!(joined.is_err(), "asked twice: {joined:?}");
    questions.answered(&["/10.0.0.1".to_owned()]);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Asked::Answered, Asked::Answered));
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_a_while_and_is_then_asked_for_again() {
    let (demand, mut questions) = demand();
    let asker = demand.clone();
    let asking = tokio::spawn(async move { asker.ask("k").await });
    let key = questions.next().await;
    questions.answered(&[key]);
    assert_eq!(asking.await.unwrap(), Asked::Answered);
    assert_eq!(demand.ask("k").await, Asked::Answered, "without a question");
    tokio::time::advance(RECENT).await;
    let again = tokio::spawn(async move { demand.ask("k").await });
    assert_eq!(questions.next().await, "k");
    questions.answered(&["k".to_owned()]);
    assert_eq!(again.await.unwrap(), Asked::Answered);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_never_answers_is_waited_for_so_long_and_no_longer() {
    let (demand, mut questions) = demand();
    let begun = Instant::now();
    let asking = tokio::spawn(async move { demand.ask("k").await });
    questions.next().await;
    assert_eq!(asking.await.unwrap(), Asked::Unanswered);
    assert_eq!(begun.elapsed(), WAIT);
}

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_waits_for_make_room() {
    let (demand, mut questions) = demand();
    for n in 0..WAITING {
        let demand = demand.clone();
        let asking = tokio::spawn(async move { demand.ask(&n.to_string()).await });
        questions.next().await;
        asking.abort();
        drop(asking.await);
    }
    yield_now().await;
    assert_eq!(questions.abandoned().len(), WAITING);
    let asking = tokio::spawn(async move { demand.ask("new").await });
    assert_eq!(questions.next().await, "new");
    questions.answered(&["new".to_owned()]);
    assert_eq!(asking.await.unwrap(), Asked::Answered);
}
