// Command bench runs the benchmarks of its rooms and makes one table of what they measure, with the targets beside it:
//
//	verification  a token in process, beside the raw signature check and other libraries
//	gateway       /verify over HTTPS, beside a handler that does nothing
//	revocation    the index of rules, beside a map under a lock
//	operator      the built operator with a real API server: many issuers, start-up, revocations
//	footprint     the size of the program, and what each dependency costs
//
// A room holds ordinary Go benchmarks, so that each can be run and profiled by itself with go test -bench. This is a
// module of its own, because the libraries that Keyturn is compared with are no business of the operator's.
//
// Timings drift while a machine gets warm or somebody else uses it. So the benchmarks of a room run one after another
// in several rounds, a ratio is taken within each round, and the table shows the median of the rounds.
package main
