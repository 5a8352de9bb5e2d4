package main

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// sections is the table. In each, what is a ratio comes first.
var sections = slices.Concat(verification, gateway, revocations, operator, footprint)

// timed and allocated are what go test says of each benchmark.
func timed(benchmark string) measure     { return of(benchmark, "ns/op") }
func allocated(benchmark string) measure { return of(benchmark, "allocs/op") }

func verify(algorithm, what string) measure {
	return timed("verification/Verify/" + algorithm + "/" + what)
}

// beside is a line for the ratio of two benchmarks of one algorithm.
func beside(what, algorithm, one, other string, limit target) row {
	a, b := verify(algorithm, one), verify(algorithm, other)
	return row{what: what, result: a.over(b), as: times, target: limit, figures: []shown{{one, a, nanoseconds}, {other, b, nanoseconds}}}
}

// more is a line for what one benchmark of an algorithm takes more than the raw signature check.
func more(algorithm string) row {
	made, raw := verify(algorithm, "new"), verify(algorithm, "raw")
	return row{
		what: algorithm + ": a new token, more than the raw signature check", result: made.minus(raw), as: nanoseconds,
		target:  atMost(float64(25 * time.Microsecond)),
		figures: []shown{{"new", made, nanoseconds}, {"raw", raw, nanoseconds}},
	}
}

func throughput(load string) row {
	one := of("verification/Throughput/"+load+"/cores=1", "verifications/s")
	two := of("verification/Throughput/"+load+"/cores=2", "verifications/s")
	return row{what: load + " tokens: two cores beside one", result: two.over(one), as: times,
		figures: []shown{{"one core", one, perSecond}, {"two cores", two, perSecond}}}
}

var perSecond = unit("a second")

var verification = []section{
	{
		title: "Verifying a token, in process, on one core",
		rooms: []string{"verification"},
		rows: []row{
			beside("ES256: a new token beside the raw signature check", "ES256", "new", "raw", atMost(1.15)),
			beside("ES256: a forged token beside the raw signature check", "ES256", "forged", "raw", atMost(1.15)),
			more("EdDSA"), more("RS256"), more("PS256"), more("ES384"), more("HS256"),
			{what: "a token that was seen before", result: verify("ES256", "seen"), as: nanoseconds, target: atMost(float64(2 * time.Microsecond))},
			{what: "what it allocates", result: allocated("verification/Verify/ES256/seen"), as: unit("allocations"), target: atMost(0)},
			{what: "good tokens still remembered after a flood of forged ones", result: of("verification/Flood", "cached/good"), as: percent, target: atLeast(1)},
			{what: "memory that the flood leaves behind", result: of("verification/Flood", "heap-growth-B"), as: unit("bytes")},
		},
		note: "*Raw* is the standard library's check of a signature that is decoded already. *New* is the whole checklist of " +
			"[verification](verification.md) for a token that was not seen before. The signature of one that was is not checked again; " +
			"everything else is.",
	},
	{
		title: "Beside other libraries",
		rooms: []string{"verification"},
		rows: slices.Concat(
			besideLibraries("ES256"), besideLibraries("EdDSA"), besideLibraries("RS256"), besideLibraries("HS256"),
		),
		note: "The libraries parse the token, check its signature with a key at hand, and `iss`, `aud`, `exp`, `nbf` and `iat` with a " +
			"leeway. Keyturn finds the issuer and the key besides, holds the type, scope and lifetime against the issuer's, " +
			"and asks for revocations.",
	},
	{
		title: "Two cores",
		rooms: []string{"verification"},
		rows:  []row{throughput("seen"), throughput("mixed"), throughput("new")},
		note:  "Where all requests share a lock, two cores do no more than one. In *mixed*, each tenth token is new.",
	},
}

func besideLibraries(algorithm string) []row {
	rows := []row{beside(algorithm+": Keyturn, a new token", algorithm, "new", "raw", target{})}
	for _, library := range []string{"go-jose", "golang-jwt", "jwx"} {
		rows = append(rows, beside(algorithm+": "+library, algorithm, library, "raw", target{}))
	}
	return rows
}

func overHTTPS(what, benchmark string, limit target) row {
	benchmark = "gateway/VerifyOverHTTPS/" + benchmark
	return row{
		what: what, result: of(benchmark, "verify/bare"), as: percent, target: limit,
		figures: []shown{
			{"verify", of(benchmark, "verify-requests/cpu-s"), unit("requests per CPU-second")},
			{"bare", of(benchmark, "bare-requests/cpu-s"), unit("")},
		},
	}
}

var gateway = []section{{
	title: "/verify over HTTPS, beside a handler that does nothing",
	rooms: []string{"gateway"},
	rows: []row{
		overHTTPS("HTTP/1.1, one core", "http1/procs=1", atLeast(0.8)),
		overHTTPS("HTTP/1.1, two cores", "http1/procs=2", atLeast(0.8)),
		overHTTPS("HTTP/2, one core", "http2/procs=1", target{}),
		overHTTPS("HTTP/2, two cores", "http2/procs=2", target{}),
	},
	note: "Requests for each second of CPU time of the server's process, the kernel's work for it included, on connections with " +
		"TLS 1.3 that are kept. *Bare* is a handler of net/http that answers 200 and nothing else.",
}}

func million(what, store string) measure { return timed("revocation/Million/" + what + "/" + store) }

func besideMap(what, benchmark string, as format, of func(store string) measure, limit target) row {
	return row{what: what, result: of("keyturn"), as: as, target: limit, figures: []shown{
		{"map under a lock", of("rwmutex-map"), as}, {"sync.Map", of("sync-map"), as},
	}}
}

var revocations []section

var operator []section

var footprint = []section{
	{
		title: "The size of the program",
		rooms: []string{"footprint"},
		rows: []row{
			{
				what: "the operator beside a controller-runtime manager that does nothing", result: of("footprint/Binary", "operator/floor"), as: times,
				figures: []shown{
					{"operator", of("footprint/Binary", "stripped-MB"), unit("MB")}, {"manager", of("footprint/Binary", "floor-MB"), unit("MB")},
				},
			},
			{what: "calls that make the linker keep all methods of all types", result: of("footprint/Binary", "reflect-methods"), as: plain, target: atMost(0)},
		},
	},
	{
		title: "What each dependency has of it",
		rooms: []string{"footprint"},
		each:  dependencies,
	},
}

// dependencies makes a line for each module that was measured, the largest first.
func dependencies(measured figures) []row {
	const prefix = "footprint/Dependency/"
	var names []figure
	for f := range measured {
		if strings.HasPrefix(f.benchmark, prefix) && f.unit == "KiB" {
			names = append(names, f)
		}
	}
	slices.SortFunc(names, func(a, b figure) int {
		return cmp.Or(cmp.Compare(median(measured[b]), median(measured[a])), cmp.Compare(a.benchmark, b.benchmark))
	})
	rows := make([]row, len(names))
	for i, f := range names {
		rows[i] = row{
			what: strings.TrimPrefix(f.benchmark, prefix), result: of(f.benchmark, f.unit), as: unit("KiB"),
			figures: []shown{{"in the manager that does nothing", of(f.benchmark, "floor-KiB"), unit("KiB")}},
		}
	}
	return rows
}
