package remotejwks

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestNewFetcherHasNothing(t *testing.T) {
	f, clock := newFetcher(Source{IssuerURL: "https://issuer.example.com"}, nil)
	if set := f.Current(); len(set.Keys) != 0 || !set.Stale(clock.Now()) {
		t.Errorf("the first set is %+v, want an empty and stale one", set)
	}
	if diff := cmp.Diff(Status{}, f.Status()); diff != "" {
		t.Errorf("Status() (-want +got):\n%s", diff)
	}
}

func TestRotationKeepsPointers(t *testing.T) {
	remote := newIssuer(t)
	var changes []*Set
	f, clock := newFetcher(remote.source(), &changes)
	a, b := p256(t, "a"), edKey(t, "b")
	remote.publish("/jwks", jwks(t, a))
	cycleWell(t, f)
	first := f.Current().Keys["a"]

	clock.Step(time.Minute)
	cycleWell(t, f)
	if f.Current().Keys["a"] != first || !f.Current().FetchedAt.Equal(clock.Now()) {
		t.Error("the same document gave another pointer, or the set is not fresher than before")
	}
	remote.publish("/jwks", jwks(t, a, b))
	cycleWell(t, f)
	if f.Current().Keys["a"] != first {
		t.Error("a key that stayed has another pointer after another came")
	}
	remote.publish("/jwks", jwks(t, with(t, a, map[string]any{"use": "sig", "alg": "ES256"})))
	cycleWell(t, f)
	if f.Current().Keys["a"] != first {
		t.Error("a key that verifies what it did has another pointer because its JWK says more")
	}
	remote.publish("/jwks", jwks(t, p256(t, "a")))
	cycleWell(t, f)
	if f.Current().Keys["a"] == first {
		t.Error("another key of the same id has the pointer of the old")
	}

	var got []algorithmsOf
	for _, set := range changes {
		got = append(got, ids(set.Keys))
	}
	onlyA := algorithmsOf{"a": {jose.ES256}}
	want := []algorithmsOf{onlyA, {"a": {jose.ES256}, "b": {jose.EdDSA}}, onlyA, onlyA}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sets that OnChange saw (-want +got):\n%s", diff)
	}
}

func TestFailureKeepsLastGoodSet(t *testing.T) {
	good := p256(t, "a")
	for name, test := range map[string]struct {
		body []byte
		want string
	}{
		"empty set":     {jwks(t), "no key that can verify"},
		"no usable key": {jwks(t, with(t, good, map[string]any{"use": "enc"})), `key 1 (kid "a"): its use is "enc"`},
		"no JWK Set":    {[]byte("<html>"), "not a JWK Set"},
	} {
		t.Run(name, func(t *testing.T) {
			remote := newIssuer(t)
			var changes []*Set
			f, clock := newFetcher(remote.source(), &changes)
			remote.publish("/jwks", jwks(t, good))
			cycleWell(t, f)
			before := f.Current()
			remote.publish("/jwks", test.body)
			clock.Step(10 * time.Minute)
			for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
				status := cycle(t, f)
				if !strings.Contains(status.LastError, test.want) {
					t.Errorf("LastError = %q, want %q in it", status.LastError, test.want)
				}
				if got := status.NextFetch.Sub(clock.Now()); got != wait {
					t.Errorf("the next fetch is in %s, want %s", got, wait)
				}
			}
			if f.Current() != before || len(changes) != 1 {
				t.Errorf("the last good set was replaced, or OnChange called %d times instead of once", len(changes))
			}
			remote.publish("/jwks", jwks(t, good))
			cycleWell(t, f)
			status := f.Status()
			if !status.FetchedAt.Equal(clock.Now()) || status.NextFetch.Sub(clock.Now()) != 10*time.Minute {
				t.Errorf("after recovery fetched at %s and next at %s, want now and in 10m", status.FetchedAt, status.NextFetch)
			}
			remote.publish("/jwks", test.body)
			if got := cycle(t, f).NextFetch.Sub(clock.Now()); got != time.Second {
				t.Errorf("after recovery and another failure the next fetch is in %s, want 1s again", got)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	remote := newIssuer(t)
	f, _ := newFetcher(remote.source(), nil)
	remote.publish("/jwks", jwks(t, p256(t, "b"), p256(t, "a"), with(t, p256(t, "c"), map[string]any{"use": "enc"})),
		"Cache-Control", "public, max-age=180")
	cycleWell(t, f)
	status := f.Status()
	if len(status.Keys) != 2 || status.Keys[0].ID != "a" || status.Keys[1].ID != "b" {
		t.Errorf("Keys = %v, want a and b, in this order", status.Keys)
	}
	if len(status.Skipped) != 1 || !strings.Contains(status.Skipped[0], `"c"`) {
		t.Errorf("Skipped = %q, want a sentence about c", status.Skipped)
	}
	if !status.FetchedAt.Equal(start) || !status.NextFetch.Equal(start.Add(3*time.Minute)) {
		t.Errorf("fetched at %s and next at %s, want %s and 3m later", status.FetchedAt, status.NextFetch, start)
	}
}

func TestSlowServer(t *testing.T) {
	remote := newIssuer(t)
	entered := make(chan struct{})
	remote.handle("/jwks", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() // a header in time does not help a body that never comes
		entered <- struct{}{}
		<-r.Context().Done()
	})
	f, clock := newFetcher(remote.source(), nil)
	fetched := make(chan result)
	go func() { fetched <- f.fetch(t.Context()) }()
	<-entered
	clock.Step(fetchTimeout)
	if got := <-fetched; !errors.Is(got.err, errTimeout) {
		t.Errorf("error of a fetch that takes 10s = %v, want the timeout", got.err)
	}
}

// inMemory is a RoundTripper without a network, so that goroutines wait only for each other and for the clock.
type inMemory func(*http.Request) (int, []byte)

func (answer inMemory) RoundTrip(request *http.Request) (*http.Response, error) {
	code, body := answer(request)
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(string(body))), Request: request, Header: http.Header{}}, nil
}

// running starts Run on a fake clock, within a bubble of synctest: after its synctest.Wait, everything that can happen
// without time passing has happened.
func running(t *testing.T, source Source, answer inMemory, onChange func(*Set)) (*Fetcher, *clocktesting.FakeClock) {
	t.Helper()
	source.BaseURL, source.Transport = "https://issuer.example.com", answer
	clock := clocktesting.NewFakeClock(start)
	f := New(source, Options{Clock: clock, OnChange: onChange})
	f.chance = func() float64 { return 0 }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
	return f, clock
}

func TestRunFetchesAheadOfNeed(t *testing.T) {
	document := jwks(t, p256(t, "a"))
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		f, clock := running(t, Source{}, func(*http.Request) (int, []byte) { fetches++; return http.StatusOK, document }, nil)
		if fetches != 1 || len(f.Current().Keys) != 1 {
			t.Fatalf("%d fetches at the start, want one", fetches)
		}
		for step := 2; step < 5; step++ {
			clock.Step(10*time.Minute - 1)
			synctest.Wait()
			if fetches != step-1 {
				t.Errorf("%d fetches just before the interval ended, want %d", fetches, step-1)
			}
			clock.Step(1)
			synctest.Wait()
			if fetches != step {
				t.Errorf("%d fetches after %d intervals, want %d", fetches, step-1, step)
			}
		}
	})
}

func TestRunReportsStaleness(t *testing.T) {
	document := jwks(t, p256(t, "a"))
	synctest.Test(t, func(t *testing.T) {
		healthy, hanging := true, false
		var clock *clocktesting.FakeClock
		var states []bool // what OnChange saw, as stale or not
		answer := func(request *http.Request) (int, []byte) {
			if hanging {
				<-request.Context().Done()
			}
			if healthy {
				return http.StatusOK, document
			}
			return http.StatusInternalServerError, nil
		}
		onChange := func(set *Set) { states = append(states, clock != nil && set.Stale(clock.Now())) }
		f, clock := running(t, Source{MaxStaleness: 20 * time.Minute}, answer, onChange)
		key := f.Current().Keys["a"]

		healthy = false
		clock.Step(10 * time.Minute)
		synctest.Wait()
		hanging = true // the set turns stale while a fetch is under way
		clock.Step(10*time.Minute - 5*time.Second)
		synctest.Wait()
		expectStates(t, "just before it is stale", states, []bool{false})
		clock.Step(5*time.Second - 1)
		synctest.Wait()
		expectStates(t, "a nanosecond before it is stale", states, []bool{false})
		clock.Step(1)
		synctest.Wait()
		if !f.Current().Stale(clock.Now()) || f.Current().Keys["a"] != key {
			t.Error("after MaxStaleness the set is not stale, or its key is gone")
		}
		expectStates(t, "when it is stale", states, []bool{false, true})

		healthy, hanging = true, false
		clock.Step(time.Minute)
		synctest.Wait()
		clock.Step(time.Minute)
		synctest.Wait()
		expectStates(t, "after recovery", states, []bool{false, true, false})
		if f.Current().Keys["a"] != key {
			t.Error("the key that came back has another pointer")
		}
	})
}

func expectStates(t *testing.T, when string, got, want []bool) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("staleness that OnChange saw %s (-want +got):\n%s", when, diff)
	}
}

func TestRunStartsWithPrevious(t *testing.T) {
	keys, _, err := parseSet(jwks(t, p256(t, "a")), Source{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	previous := newSet(keys, nil, start, 24*time.Hour)
	f := New(Source{JWKSURL: "http://refused"}, Options{Clock: clocktesting.NewFakeClock(start.Add(time.Hour)), Previous: previous})
	if status := cycle(t, f); status.LastError == "" || f.Current().Stale(f.clock.Now()) || f.Current().Keys["a"] != keys["a"] {
		t.Errorf("status = %+v, want the keys of the set before in use although the fetch failed", status)
	}
}

func TestErrorsAreShortened(t *testing.T) {
	got := shortened(errors.New("one\ntwo" + strings.Repeat("é", 2000)))
	if len(got) > 1024 || !strings.HasPrefix(got, "one; two") || !strings.HasSuffix(got, "...") || strings.ToValidUTF8(got, "?") != got {
		t.Errorf("shortened() = %q, want one line of at most 1024 bytes in whole characters", got)
	}
}
