package revocation

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/test/bench/stats"
)

// samples is how many different values are looked up by turns: too many for what the index has of them to stay in the
// processor's own cache. With one value it does stay there.
const samples = 1 << 16

// BenchmarkMillion is a million rules of mixed kinds: what they take, and how long a look-up takes, and those for the six
// facts of a good token. Except in match-parallel, times are those that a processor has worked, so that other programs on
// the machine do not count.
func BenchmarkMillion(b *testing.B) {
	for _, compared := range stores {
		b.Run("put/"+compared.name, func(b *testing.B) { benchmarkPut(b, compared.empty) })
	}
	filled := map[string]func() store{}
	for _, compared := range stores {
		filled[compared.name] = sync.OnceValue(func() store {
			s := compared.empty()
			fill(s, 0, size())
			return s
		})
	}
	hits, misses, tokens := make([]string, samples), make([]string, samples), make([]revocation.Facts, samples)
	for i := range samples {
		// A prime step goes through all of the rules, and the last kind is that of key ids.
		hits[i] = rule(i*7919%(size()/len(kinds))*len(kinds) + len(kinds) - 1).Value
		misses[i] = numbered("kid-good", i)
		tokens[i] = *good(i)
	}
	inARow(slices.Concat(pointers(hits), pointers(misses), texts(tokens)))
	for _, looked := range []struct {
		name   string
		values int
		denied bool
		denies func(s store, i int) bool
	}{
		{"lookup-hit", samples, true, func(s store, i int) bool { return s.keyRevoked(hits[i]) }},
		{"lookup-hit-again", 1, true, func(s store, i int) bool { return s.keyRevoked(hits[i]) }},
		{"lookup-miss", samples, false, func(s store, i int) bool { return s.keyRevoked(misses[i]) }},
		{"lookup-miss-again", 1, false, func(s store, i int) bool { return s.keyRevoked(misses[i]) }},
		{"match", samples, false, func(s store, i int) bool { return s.denies(&tokens[i]) }},
		{"match-again", 1, false, func(s store, i int) bool { return s.denies(&tokens[i]) }},
	} {
		for _, compared := range stores {
			b.Run(looked.name+"/"+compared.name, func(b *testing.B) {
				s := filled[compared.name]()
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				b.ReportAllocs()
				start, i := threadTime(b), 0
				for b.Loop() {
					if looked.denies(s, i) != looked.denied {
						b.Fatalf("value %d is denied: %t", i, !looked.denied)
					}
					if i++; i == looked.values {
						i = 0
					}
				}
				b.ReportMetric(float64((threadTime(b)-start).Nanoseconds())/float64(b.N), "ns/op")
			})
		}
	}
	for _, compared := range stores {
		b.Run("match-parallel/"+compared.name, func(b *testing.B) {
			s := filled[compared.name]()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if s.denies(&tokens[i%samples]) {
						b.Error("a good token is denied")
					}
				}
			})
		})
	}
}

// inARow moves texts so that they lie in memory one after another. What is asked for was read just before, from a token or
// a request; fetching it from memory is no part of a look-up.
func inARow(texts []*string) {
	var all strings.Builder
	for _, text := range texts {
		all.WriteString(*text)
	}
	rest := all.String()
	for _, text := range texts {
		*text, rest = rest[:len(*text)], rest[len(*text):]
	}
}

func pointers(texts []string) []*string {
	to := make([]*string, len(texts))
	for i := range texts {
		to[i] = &texts[i]
	}
	return to
}

// texts are those of tokens, one token after another. It lays their audiences in a row.
func texts(tokens []revocation.Facts) []*string {
	audiences, to := make([]string, len(tokens)), make([]*string, 0, 6*len(tokens))
	for i := range tokens {
		token := &tokens[i]
		audiences[i] = token.Audiences[0]
		token.Audiences = audiences[i : i+1]
		to = append(to, &token.TokenID, &token.SessionID, &token.KeyID, &token.Subject, &token.ClientID, &audiences[i])
	}
	return to
}

// benchmarkPut fills a store from nothing. How long a put takes is in time of the processor, with what the garbage
// collector makes it do.
func benchmarkPut(b *testing.B, empty func() store) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	puts := newDurations()
	for b.Loop() {
		before := stats.Heap()
		s := empty()
		for i := range size() {
			next := rule(i)
			start := threadTime(b)
			s.put(next)
			puts.add(b, threadTime(b)-start)
		}
		b.ReportMetric(float64(stats.Heap()-before)/float64(size()), "bytes/rule")
		runtime.KeepAlive(s)
	}
	b.ReportMetric(0, "ns/op") // It would be that of all puts together.
	puts.report(b, "put")
}
