package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// leaderKilled kills the leader with SIGKILL at the moment in which a rotation has changed the ring. The kernel closes its
// connections, and who was using them has to ask once more; the other replica must not be disturbed, no good token
// refused, and the rotation ends with the keys with which it would have ended anyway.
func (s *suite) leaderKilled(t *testing.T) {
	leader, err := s.leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	holder, err := s.leaseHolder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"name": {"keyturn"}, "pod": {string(leader.UID)}}
	breaker := s.startBreaker(t, leader.Spec.NodeName)
	if err := s.ask(t.Context(), http.MethodGet, faultNamespace, breaker.Name, "processes", query, nil, nil); err != nil {
		t.Fatal(err)
	}
	s.askReplicas(t, addresses(s.replicas(t)))
	defer s.askReplicas(t, nil)
	time.Sleep(2 * time.Second) // Each connection has been used before it breaks.

	before := s.mustKeys(t, brisk)
	s.window(t)
	request := s.killAtRotation(t, breaker.Name, query)
	killed := time.Now()
	_, unsettled := s.settled(t.Context(), brisk)
	t.Logf("measured: leader killed: in the middle of the rotation: %t (%v)", unsettled != nil, unsettled)
	after := s.awaitRotation(t, "the rotation to be completed", brisk, request)
	t.Logf("measured: leader killed: the rotation was complete %s later", time.Since(killed).Round(100*time.Millisecond))
	wantOneRotation(t, before, after)
	await(t, "another leader than the one that was killed", short, func(ctx context.Context) error {
		now, err := s.leaseHolder(ctx)
		if err == nil && now == holder {
			err = fmt.Errorf("it is still %s", now)
		}
		return err
	})
	t.Logf("measured: leader killed: another one led %s later at the latest", time.Since(killed).Round(100*time.Millisecond))
	s.awaitRollout(t)

	window := s.observe(t, "tokens of the new key", s.propagation+long, func(sum report.Window) error {
		if sum.Issuers[shopNamespace+"/"+brisk].Keys[after.active] == 0 {
			return fmt.Errorf("only of %v", sum.Issuers[shopNamespace+"/"+brisk].Keys)
		}
		return nil
	})
	wantSurvivorUndisturbed(t, leader, window)
}

// askReplicas lets the gateway ask each replica by itself, too, or, without addresses, no longer.
func (s *suite) askReplicas(t *testing.T, replicas []string) {
	t.Helper()
	if err := s.ask(t.Context(), http.MethodPost, gatewayNamespace, verifier, "replicas", url.Values{"address": replicas}, nil, nil); err != nil {
		t.Error(err)
	}
}

// killAtRotation asks for a rotation, and has the processes killed as soon as the ring has changed.
func (s *suite) killAtRotation(t *testing.T, breaker string, query url.Values) (request string) {
	t.Helper()
	ring := &corev1.Secret{ObjectMeta: named(brisk + "-keyring")}
	s.get(t, ring)
	query = maps.Clone(query)
	query["namespace"], query["secret"], query["version"] = []string{ring.Namespace}, []string{ring.Name}, []string{ring.ResourceVersion}
	killed := make(chan error, 1)
	go func() {
		killed <- s.ask(context.Background(), http.MethodPost, faultNamespace, breaker, "kill-at-change", query, nil, nil)
	}()
	time.Sleep(time.Second) // It watches by then, or it is told at once of what it has missed.
	request = s.requestRotation(t, brisk)
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	return request
}

// wantOneRotation fails unless exactly one rotation lies between: the Next key signs, the one before it retires, and one
// key is new.
func wantOneRotation(t *testing.T, before, after keys) {
	t.Helper()
	if after.active != before.next {
		t.Errorf("the active key is %s, want %s, which was next", after.active, before.next)
	}
	if !slices.Contains(after.retiring, before.active) {
		t.Errorf("the retiring keys are %v, want %s among them, which was active", after.retiring, before.active)
	}
	for _, id := range after.retiring {
		if id != before.active && !slices.Contains(before.retiring, id) {
			t.Errorf("the key %s retires, and was neither active nor retiring before", id)
		}
	}
	if slices.Contains(before.all(), after.next) {
		t.Errorf("the next key %s is not a new one", after.next)
	}
}

// wantSurvivorUndisturbed fails if a token was refused, or if a request to the other replica needed a second attempt. Who
// asks the killed replica by itself, and not the Service, meets it before it is ready again, too, when it denies everything.
func wantSurvivorUndisturbed(t *testing.T, killed *corev1.Pod, window report.Window) {
	t.Helper()
	survivors := 0
	for name, seen := range window.Paths {
		switch {
		case !strings.HasPrefix(name, "replica "):
		case strings.HasPrefix(name, "replica "+addresses([]corev1.Pod{*killed})[0]+","):
			t.Logf("measured: leader killed: %s, the killed one: of %d requests %d retried, longest %s, and %d denied before it was ready",
				name, seen.Requests, seen.Retried, seen.Longest, seen.Denied)
			delete(window.Paths, name)
		default:
			survivors++
			if seen.Retried > 0 {
				t.Errorf("%s was not killed, and %d of %d requests needed another attempt", name, seen.Retried, seen.Requests)
			}
		}
	}
	if survivors == 0 {
		t.Error("the gateway has not asked the surviving replica by itself")
	}
	wantNoneRefused(t, "leader killed", window)
}
