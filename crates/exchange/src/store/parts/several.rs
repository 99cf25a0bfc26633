//! Answers of the shards of a store.

use crate::store::StoreError;

/// What those shards say that answer: the others are left out, unless none answers.
///
/// # Errors
///
/// The failure of the last shard if all of them have failed.
pub fn of_those_that_answer<T>(
    answers: impl IntoIterator<Item = Result<Vec<T>, StoreError>>,
) -> Result<Vec<T>, StoreError> {
    let (mut all, mut failure, mut answered) = (Vec::new(), None, false);
    for answer in answers {
        match answer {
            Ok(part) => {
                answered = true;
                all.extend(part);
            }
            Err(cause) => failure = Some(cause),
        }
    }
    failure.filter(|_| !answered).map_or(Ok(all), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_does_not_answer_is_left_out_unless_none_does() {
        let failed = || Err(StoreError::new("the connection is closed"));
        assert_eq!(
            of_those_that_answer([Ok(vec![1]), failed(), Ok(vec![2, 3])]).unwrap(),
            [1, 2, 3]
        );
        assert_eq!(of_those_that_answer([failed(), Ok(Vec::<u8>::new())]).unwrap(), [0; 0]);
        assert!(of_those_that_answer::<u8>([failed(), failed()]).is_err());
        assert_eq!(of_those_that_answer::<u8>([]).unwrap(), [0; 0]);
    }
}
