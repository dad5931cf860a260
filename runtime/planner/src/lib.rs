//! hob-planner
