package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/test/bench/stats"
)

// sections is the table. In each, what is a ratio comes first.
var sections = slices.Concat(verification, gateway, revocations, operator, footprint)

// timed is what go test says of each benchmark.
func timed(benchmark string) measure { return of(benchmark, "ns/op") }

// reported is what the comparison of an algorithm reports.
func reported(algorithm, unit string) measure { return of("verification/BesideRaw/"+algorithm, unit) }

// besideRaw is a line for the ratio of one way of verifying a token to the raw signature check of the same algorithm.
func besideRaw(what, algorithm, way string, limit target) row {
	return row{what: what, result: reported(algorithm, way+"/raw"), as: times, target: limit, figures: []shown{
		{way, reported(algorithm, way+"-ns"), nanoseconds}, {"raw", reported(algorithm, "raw-ns"), nanoseconds},
	}}
}

// more is a line for what a new token takes more than the raw signature check.
func more(algorithm string) row {
	return row{
		what: algorithm + ": a new token, more than the raw signature check", result: reported(algorithm, "new-more-ns"), as: nanoseconds,
		target: atMost(float64(25 * time.Microsecond)), figures: []shown{
			{"new", reported(algorithm, "new-ns"), nanoseconds}, {"raw", reported(algorithm, "raw-ns"), nanoseconds},
		},
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
			besideRaw("ES256: a new token beside the raw signature check", "ES256", "new", atMost(1.15)),
			besideRaw("ES256: a forged token beside the raw signature check", "ES256", "forged", atMost(1.15)),
			more("EdDSA"), more("RS256"), more("PS256"), more("HS256"),
			{what: "a token that was seen before, again and again", result: timed("verification/Seen"), as: nanoseconds, target: atMost(float64(2 * time.Microsecond))},
			{what: "the same among others that were not", result: reported("ES256", "seen-ns"), as: nanoseconds, target: atMost(float64(2 * time.Microsecond))},
			{what: "what it allocates", result: of("verification/Seen", "allocs/op"), as: unit("allocations"), target: atMost(0)},
			{what: "good tokens still remembered after a flood of forged ones", result: of("verification/Flood", "cached/good"), as: percent, target: atLeast(1)},
			{what: "memory that the flood leaves behind", result: of("verification/Flood", "heap-growth-B"), as: unit("bytes")},
		},
		note: "*Raw* is the standard library's check of a signature that is decoded already. *New* is the whole checklist of " +
			"[verification](verification.md) for a token that was not seen before. The signature of one that was is not checked again; " +
			"everything else is, against a thousand revocations of each kind.",
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
	rows := []row{besideRaw(algorithm+": Keyturn, a new token", algorithm, "new", target{})}
	for _, library := range []string{"go-jose", "golang-jwt", "jwx"} {
		rows = append(rows, besideRaw(algorithm+": "+library, algorithm, library, target{}))
	}
	return rows
}

// overHTTPS is a line for /verify beside a handler of net/http: bare, or headers.
func overHTTPS(what, benchmark, handler string, limit target) row {
	benchmark = "gateway/VerifyOverHTTPS/" + benchmark
	return row{
		what: what, result: of(benchmark, "verify/"+handler), as: percent, target: limit,
		figures: []shown{
			{"verify", of(benchmark, "verify-requests/cpu-s"), unit("requests per CPU-second")},
			{handler, of(benchmark, handler+"-requests/cpu-s"), unit("")},
		},
	}
}

var gateway = []section{{
	title: "/verify over HTTPS, beside a handler that does nothing",
	rooms: []string{"gateway"},
	rows: []row{
		overHTTPS("HTTP/1.1, one core", "http1/procs=1", "bare", atLeast(0.8)),
		overHTTPS("HTTP/1.1, two cores", "http1/procs=2", "bare", atLeast(0.8)),
		overHTTPS("HTTP/2, one core", "http2/procs=1", "bare", atLeast(0.8)),
		overHTTPS("HTTP/2, two cores", "http2/procs=2", "bare", atLeast(0.8)),
		overHTTPS("HTTP/1.1, one core, beside the headers alone", "http1/procs=1", "headers", target{}),
		overHTTPS("HTTP/1.1, two cores, beside the headers alone", "http1/procs=2", "headers", target{}),
		overHTTPS("HTTP/2, one core, beside the headers alone", "http2/procs=1", "headers", target{}),
		overHTTPS("HTTP/2, two cores, beside the headers alone", "http2/procs=2", "headers", target{}),
	},
	note: "Requests for each second of CPU time of the server's process, the kernel's work for it included, on connections with " +
		"TLS 1.3 that are kept. *Bare* is a handler of net/http that answers 200 and nothing else; *headers* sends the six " +
		"headers of an answer besides, which is part of what `/verify` costs whatever it does.",
}}

// stored is what a benchmark reports of the index, beside what it reports of a map under a lock and of a sync.Map.
func stored(what, benchmark, unit string, as format, limit target) row {
	measured := func(store string) measure { return of("revocation/"+benchmark+"/"+store, unit) }
	return row{what: what, result: measured("keyturn"), as: as, target: limit, figures: []shown{
		{"map", measured("rwmutex-map"), as}, {"sync.Map", measured("sync-map"), as},
	}}
}

func besideMap(what, benchmark string) row {
	each := func(store string) measure { return timed("revocation/Million/" + benchmark + "/" + store) }
	return row{what: what, result: each("keyturn").over(each("rwmutex-map")), as: times, figures: []shown{
		{"index", each("keyturn"), nanoseconds}, {"map", each("rwmutex-map"), nanoseconds}, {"sync.Map", each("sync-map"), nanoseconds},
	}}
}

var revocations = []section{
	{
		title: "A million revocation rules of mixed kinds",
		rooms: []string{"revocation"},
		rows: []row{
			besideMap("the six look-ups for a good token beside those in a map, on all cores at once", "match-parallel"),
			besideMap("the same on one core", "match"),
			besideMap("the same for one token again and again", "match-again"),
			stored("memory for a rule", "Million/put", "bytes/rule", unit("bytes"), atMost(100)),
			stored("a look-up of what is not revoked, in the processor's cache", "Million/lookup-miss-again", "ns/op", nanoseconds, atMost(100)),
			stored("the same, each time another one", "Million/lookup-miss", "ns/op", nanoseconds, atMost(100)),
			stored("a look-up of what is revoked, in the processor's cache", "Million/lookup-hit-again", "ns/op", nanoseconds, atMost(100)),
			stored("the same, each time another one", "Million/lookup-hit", "ns/op", nanoseconds, target{}),
			{
				what: "99.99 of 100 additions take at most", result: of("revocation/Million/put/keyturn", "p99.99-put-ns"), as: nanoseconds,
				figures: []shown{
					{"longest", of("revocation/Million/put/keyturn", "max-put-ns"), nanoseconds},
					{"map", of("revocation/Million/put/rwmutex-map", "p99.99-put-ns"), nanoseconds},
					{"longest", of("revocation/Million/put/rwmutex-map", "max-put-ns"), nanoseconds},
				},
			},
		},
		note: "The *map* is a Go map of revoked values under a `sync.RWMutex`, and *sync.Map* the same in a `sync.Map`: they keep neither which " +
			"object a rule comes from nor a time. Look-ups on one core and additions are in CPU time, with what the garbage collector makes an addition do. Look-ups of something else each time have to " +
			"wait for memory, in all three.",
	},
	{
		title: "Readers while rules come and go",
		rooms: []string{"revocation"},
		rows: []row{
			pause("62,500 rules as a watch brings them, two cores", "feed/processors=2", "feed-elsewhere/processors=2"),
			pause("the same on one core", "feed/processors=1", "feed-elsewhere/processors=1"),
			pause("a million as fast as possible, two cores", "flood/processors=2", "flood-elsewhere/processors=2"),
			pause("the same on one core", "flood/processors=1", "flood-elsewhere/processors=1"),
		},
		note: "How long all but one in 10,000 look-ups for a token took at most, while rules are added and removed: beside 750,000 others, or, as fast as possible, from nothing. *Elsewhere* is " +
			"the same load on an index that nobody reads: what that does to readers is the work of the scheduler and the garbage collector.",
	},
}

func pause(what, load, elsewhere string) row {
	longest := func(load, unit string) measure { return of("revocation/Pause/"+load+"/keyturn", unit) }
	return row{
		what: what, result: longest(load, "p99.99-read-ns"), as: nanoseconds, target: atMost(float64(time.Millisecond)),
		figures: []shown{
			{"elsewhere", longest(elsewhere, "p99.99-read-ns"), nanoseconds},
			{"the longest of all", longest(load, "max-read-ns"), nanoseconds}, {"elsewhere", longest(elsewhere, "max-read-ns"), nanoseconds},
		},
	}
}

func started(what, size string, limit time.Duration) row {
	benchmark := "operator/Start/" + size
	return row{
		what: what, result: of(benchmark, "ready-after-answer-ms"), as: milliseconds, target: atMost(float64(limit.Milliseconds())),
		figures: []shown{
			{"from the start of the process", of(benchmark, "ready-ms"), milliseconds},
			{"resident a while later", of(benchmark, "idle-rss-MB"), unit("MB")},
		},
	}
}

var operator = []section{
	{
		title: "From the write of a TokenRevocation to the first denial, while 100 issuers rotate",
		rooms: []string{"operator"},
		rows: []row{
			{
				what: "99 of 100 of 500, on one replica", result: of("operator/RevocationLatency", "p99-ms"), as: milliseconds, target: atMost(250),
				figures: []shown{
					{"half of them", of("operator/RevocationLatency", "p50-ms"), milliseconds},
					{"the longest", of("operator/RevocationLatency", "max-ms"), milliseconds},
				},
			},
			{
				what: "of that, until the API server had answered", result: of("operator/RevocationLatency", "write-p99-ms"), as: milliseconds,
				figures: []shown{{"half of them", of("operator/RevocationLatency", "write-p50-ms"), milliseconds}},
			},
			{
				what: "from its answer on", result: of("operator/RevocationLatency", "after-write-p99-ms"), as: milliseconds,
				figures: []shown{
					{"half of them", of("operator/RevocationLatency", "after-write-p50-ms"), milliseconds},
					{"meanwhile", of("operator/RevocationLatency", "rotations/s"), unit("rotations a second")},
				},
			},
		},
		note: "The built operator, a real kube-apiserver and etcd, all on this machine. Each token was verified before, and `/verify` is asked again and again.",
	},
	{
		title: "A thousand issuers on one operator",
		rooms: []string{"operator"},
		rows: []row{
			{what: "beside 50 that cannot become ready, as against without them", result: of("operator/Issuers/beside-broken", "x-alone"), as: times},
			{what: "a new one beside those is ready after", result: of("operator/Issuers/beside-broken", "last-ready-s"), as: seconds, target: atMost(5)},
			{
				what: "from nothing until all are ready", result: of("operator/Issuers/healthy", "converge-s"), as: seconds,
				figures: []shown{{"", of("operator/Issuers/healthy", "calls/issuer"), unit("API calls each")}},
			},
			{
				what: "writes while nothing is due", result: of("operator/Issuers/healthy", "idle-writes"), as: plain, target: atMost(0),
				figures: []shown{
					{"reads", of("operator/Issuers/healthy", "idle-reads"), plain}, {"", of("operator/Issuers/healthy", "idle-cpu-%"), unit("% of a core")},
				},
			},
			{
				what: "rotating all of them at once", result: of("operator/Issuers/healthy", "rotate-s"), as: seconds,
				figures: []shown{
					{"", of("operator/Issuers/healthy", "calls/rotation"), unit("API calls each")},
					{"", of("operator/Issuers/healthy", "cpu-ms/rotation"), unit("ms of CPU time each")},
				},
			},
			{
				what: "resident memory, at its peak", result: of("operator/Issuers/healthy", "peak-rss-MB"), as: unit("MB"), target: atMost(200),
				figures: []shown{{"in the end", of("operator/Issuers/healthy", "rss-MB"), unit("MB")}},
			},
		},
		note: "The operator makes at most 100 requests a second for each kind of object, and a new issuer takes three writes of Secrets: 28 seconds for a thousand. " +
			"Of those that cannot become ready, some wait for an admission webhook that does not answer.",
	},
	{
		title: "Ready after the API server's first answer",
		rooms: []string{"operator"},
		rows: []row{
			started("with two issuers", "2-issuers", time.Second),
			started("with 100", "100-issuers", time.Second),
			started("with 10,000 TokenRevocations", "10k-revocations", 5*time.Second),
		},
	},
}

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
	last := func(f figure) int {
		if f.benchmark == prefix+"rest" || f.benchmark == prefix+"unattributed" {
			return 1
		}
		return 0
	}
	for f := range measured {
		if strings.HasPrefix(f.benchmark, prefix) && f.unit == "KiB" {
			names = append(names, f)
		}
	}
	slices.SortFunc(names, func(a, b figure) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(stats.Median(measured[b]), stats.Median(measured[a])), cmp.Compare(a.benchmark, b.benchmark))
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
