package remotejwks

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// Over TLS and with discovery, as a verifier lives through it: a token names a key that came after the last fetch.
func TestRefetchSeesRotation(t *testing.T) {
	remote := newIssuer(t)
	a, b := p256(t, "a"), p256(t, "b")
	remote.publish(oidcPath, discovery(t, remote.URL, remote.URL+"/keys"))
	remote.publish("/keys", jwks(t, a))
	clock := clocktesting.NewFakeClock(start)
	changed := make(chan *Set, 2)
	f := New(Source{IssuerURL: remote.URL, CABundle: remote.caBundle()},
		Options{Clock: clock, AllowedInternal: loopback, OnChange: func(set *Set) { changed <- set }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	first := <-changed
	f.Refetch(ctx, "b") // waits for the end of the first fetch, or comes too soon after it

	remote.publish("/keys", jwks(t, a, b))
	clock.Step(refetchPause)
	set := f.Refetch(ctx, "b")
	if set.Keys["b"] == nil || set.Keys["a"] != first.Keys["a"] {
		t.Errorf("after the rotation the keys are %v, want b beside the same a", ids(set.Keys))
	}
	select {
	case reported := <-changed:
		if reported != set {
			t.Error("OnChange saw another set than Refetch returned")
		}
	default:
		t.Error("Refetch returned before OnChange was called")
	}
	cancel()
	<-done
	if n, d := remote.hits("/keys"), remote.hits(oidcPath); n != 2 || d != 1 {
		t.Errorf("%d fetches and %d discoveries, want 2 and 1", n, d)
	}
}

func TestRefetchFloodIsOneFetchASecond(t *testing.T) {
	document := jwks(t, p256(t, "a"))
	for name, code := range map[string]int{"healthy issuer": http.StatusOK, "failing issuer": http.StatusInternalServerError} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fetches := 0
				answered := make(chan *Set, 1000)
				f, clock := running(t, Source{}, func(*http.Request) (int, []byte) {
					fetches++
					return code, document
				}, nil)
				for second := range 5 {
					for _, within := range []time.Duration{0, 300 * time.Millisecond, 400 * time.Millisecond, 299 * time.Millisecond} {
						clock.Step(within)
						for n := range 50 {
							go func() { answered <- f.Refetch(t.Context(), fmt.Sprintf("invented-%d", n)) }()
						}
						synctest.Wait()
					}
					if fetches != second+1 {
						t.Fatalf("%d fetches after %d seconds of flood, want one a second", fetches, second)
					}
					if len(answered) != 200 {
						t.Fatalf("%d calls have returned, want all 200 at once", len(answered))
					}
					for range 200 {
						<-answered
					}
					clock.Step(time.Millisecond)
				}
			})
		})
	}
}

func TestRefetchOfKnownKeyFetchesNothing(t *testing.T) {
	document := jwks(t, p256(t, "a"))
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		f, clock := running(t, Source{}, func(*http.Request) (int, []byte) { fetches++; return http.StatusOK, document }, nil)
		clock.Step(time.Minute)
		if set := f.Refetch(t.Context(), "a"); set != f.Current() || fetches != 1 {
			t.Errorf("%d fetches, want only the first: the key is there by now", fetches)
		}
	})
}

func TestRefetchWaits(t *testing.T) {
	document := jwks(t, p256(t, "a"))
	tests := map[string]struct {
		end func(clock *clocktesting.FakeClock, cancel func(), release chan struct{})
		// fetched is true when the call must see what the fetch brings.
		fetched bool
	}{
		"until the fetch ends": {
			end:     func(_ *clocktesting.FakeClock, _ func(), release chan struct{}) { close(release) },
			fetched: true,
		},
		"for two seconds at most": {
			end: func(clock *clocktesting.FakeClock, _ func(), _ chan struct{}) { clock.Step(1) },
		},
		"within the context": {
			end: func(_ *clocktesting.FakeClock, cancel func(), _ chan struct{}) { cancel() },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				f, clock := running(t, Source{}, hangingUntil(release, document), nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				answered := make(chan *Set, 1)
				go func() { answered <- f.Refetch(ctx, "a") }()
				synctest.Wait()
				clock.Step(2*time.Second - 1)
				synctest.Wait()
				if len(answered) != 0 {
					t.Fatal("the call did not wait")
				}
				test.end(clock, cancel, release)
				synctest.Wait()
				if len(answered) != 1 {
					t.Fatal("the call goes on waiting")
				}
				if set := <-answered; (set.Keys["a"] != nil) != test.fetched {
					t.Errorf("the call returned %v, want the fetched key: %t", ids(set.Keys), test.fetched)
				}
			})
		})
	}
}

func TestRefetchBoundsWaiters(t *testing.T) {
	document := jwks(t, p256(t, "a"))
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f, _ := running(t, Source{}, hangingUntil(release, document), nil)
		answered := make(chan *Set, 300)
		call := func(n int) {
			for range n {
				go func() { answered <- f.Refetch(t.Context(), "a") }()
			}
			synctest.Wait()
		}
		call(maxWaiters)
		if len(answered) != 0 {
			t.Fatalf("%d of 100 calls did not wait", len(answered))
		}
		call(50)
		if len(answered) != 50 {
			t.Fatalf("%d of 50 more calls returned at once, want all", len(answered))
		}
		for range 50 {
			if set := <-answered; len(set.Keys) != 0 {
				t.Error("a call that did not wait returned keys that are not there yet")
			}
		}
		close(release)
		synctest.Wait()
		for range maxWaiters {
			if set := <-answered; set.Keys["a"] == nil {
				t.Error("a call that waited returned without the key")
			}
		}
		if f.waiters != 0 {
			t.Errorf("%d calls are counted as waiting after all have returned", f.waiters)
		}
	})
}

// What OnChange rebuilds must be there when Refetch returns, because the caller goes on with that.
func TestRefetchReturnsAfterOnChange(t *testing.T) {
	document := jwks(t, p256(t, "a"))
	synctest.Test(t, func(t *testing.T) {
		release, rebuilt := make(chan struct{}), make(chan struct{})
		f, _ := running(t, Source{}, hangingUntil(release, document), func(*Set) { <-rebuilt })
		answered := make(chan *Set, 1)
		go func() { answered <- f.Refetch(t.Context(), "a") }()
		synctest.Wait()
		close(release)
		synctest.Wait()
		if len(answered) != 0 {
			t.Error("the call returned while OnChange was still at work")
		}
		close(rebuilt)
		synctest.Wait()
		if len(answered) != 1 {
			t.Error("the call goes on waiting after OnChange has returned")
		}
	})
}

func TestRefetchWithoutRun(t *testing.T) {
	f, _ := newFetcher(Source{IssuerURL: "https://issuer.example.com"}, nil)
	if set := f.Refetch(t.Context(), "a"); set != f.Current() {
		t.Error("before Run a call does not return the current set")
	}
	synctest.Test(t, func(t *testing.T) {
		f, clock := newFetcher(Source{BaseURL: "https://issuer.example.com", Transport: hangingUntil(nil, nil)}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go f.Run(ctx)
		synctest.Wait()
		answered := make(chan *Set, 1)
		go func() { answered <- f.Refetch(t.Context(), "a") }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(answered) != 1 {
			t.Error("the end of Run leaves a call waiting")
		}
		clock.Step(time.Minute)
		if set := f.Refetch(t.Context(), "a"); set != f.Current() || f.Status().LastError != "" {
			t.Errorf("after Run LastError = %q, want the end of Run not to count as a failure", f.Status().LastError)
		}
	})
}

// hangingUntil answers with the document once the channel is closed, or not at all.
func hangingUntil(release chan struct{}, document []byte) inMemory {
	return func(request *http.Request) (int, []byte) {
		select {
		case <-release:
		case <-request.Context().Done():
		}
		return http.StatusOK, document
	}
}
