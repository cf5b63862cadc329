//! The cluster query language of `memberOf`: parse, evaluate.
