package controllers

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/token"
)

// What the schema fills in.
const (
	period      = 720 * time.Hour
	maxAge      = 10 * time.Minute
	skew        = 30 * time.Second
	propagation = 2 * time.Minute
	lifetime    = 15 * time.Minute
)

func duration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

func TestScheduledRotation(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	first, second := w.ring("shop").Active().ID, w.ring("shop").Next().ID
	old := w.mounted("shop").Data
	w.told()
	w.journal.take()

	w.clock.Step(period - time.Second)
	if result := w.reconcile("shop"); result.RequeueAfter != time.Second {
		t.Errorf("RequeueAfter a second before the rotation = %s, want 1s", result.RequeueAfter)
	}
	if got := w.ring("shop").Active().ID; got != first {
		t.Fatal("the rotation came a second early")
	}
	w.clock.Step(time.Second)
	w.reconcile("shop")
	w.wantReady("shop")
	ring := w.ring("shop")
	if len(ring.Keys) != 3 || ring.Active().ID != second || ring.Keys[2].ID != first || ring.Keys[2].State != keyring.Retiring {
		t.Fatalf("the ring holds %d keys, Active %s; want 3, Active %s and Retiring %s", len(ring.Keys), ring.Active().ID, second, first)
	}
	if status := w.issuer("shop").Status; status.Keys[1].Exception != "" || !status.LastRotation.Time.Equal(w.clock.Now().Truncate(time.Second)) {
		t.Errorf("status = %+v, want a rotation now and no exception", status)
	}
	// The new Next is known to verifiers before the mounted key changes.
	writes := w.journal.take()
	config, mounted := slices.Index(writes, "update ConfigMap shop-jwks"), slices.Index(writes, "update Secret shop-signing-key")
	if config < 0 || mounted < config {
		t.Errorf("writes: %v, want the ConfigMap and then the mounted Secret", writes)
	}
	told := strings.Join(w.told(), "\n")
	for _, want := range []string{"KeyRetired Key " + first, "KeyActivated Key " + second, "KeyCreated Key " + ring.Next().ID} {
		if !strings.Contains(told, want) {
			t.Errorf("no event %q in:\n%s", want, told)
		}
	}
	// Pods that the kubelet has not served yet go on signing with the old key, and replicas accept both.
	r := w.replica()
	r.wantSoon(signWith(t, old, w.claims(issuer)), token.Allowed)
	r.wantSoon(w.token(issuer), token.Allowed)
}

func TestRetiredKeyLeavesAfterItsTime(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	first := w.ring("shop").Active().ID
	w.clock.Step(period)
	w.reconcile("shop")

	left := propagation + lifetime + skew
	if got := w.ring("shop").Key(first).RemoveAfter; !got.Equal(w.clock.Now().Add(left)) {
		t.Errorf("removeAfter = %s, want %s from now", got, left)
	}
	w.clock.Step(left - time.Second)
	if got := w.reconcile("shop").RequeueAfter; got != time.Second {
		t.Errorf("RequeueAfter = %s, want 1s, when the key may go", got)
	}
	if w.ring("shop").Key(first) == nil {
		t.Fatal("the retired key left a second early")
	}
	w.told()
	w.clock.Step(time.Second)
	w.reconcile("shop")
	w.wantReady("shop")
	if w.ring("shop").Key(first) != nil || strings.Contains(w.jwks("shop").Data[v1alpha1.DataJWKS], first) {
		t.Error("the retired key is still there after its time")
	}
	if told := w.told(); len(told) != 1 || !strings.Contains(told[0], "KeyRemoved Key "+first) {
		t.Errorf("events = %q, want one KeyRemoved", told)
	}
}

// The promise is counted from when the mounted Secret was really seen to change, however late that was.
func TestRetiredKeyWaitsForTheMountedSecret(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	first := w.ring("shop").Active().ID
	w.clock.Step(period)
	plain := w.reconciler.Client
	w.reconciler.Client = w.stopsAt("shop-signing-key")
	if _, err := w.try("shop"); err == nil {
		t.Fatal("no error, want that of the mounted Secret")
	}
	w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonWriteFailed)
	w.clock.Step(48 * time.Hour)
	if _, err := w.try("shop"); err == nil || w.ring("shop").Key(first) == nil {
		t.Fatalf("error %v; want one, and the old key kept as long as it is mounted", err)
	}
	w.reconciler.Client = plain
	w.reconcile("shop")
	w.wantReady("shop")
	if got, want := w.ring("shop").Key(first).RemoveAfter, w.clock.Now().Add(propagation+lifetime+skew); !got.Equal(want) {
		t.Errorf("removeAfter = %s, want %s", got, want)
	}
}

func TestRotationByAnnotation(t *testing.T) {
	w := newWorld(t)
	request := func(value string) {
		edit(w, w.issuer("shop"), func(i *v1alpha1.TokenIssuer) {
			i.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: value}
		})
		w.reconcile("shop")
	}
	w.settled("shop")
	first := w.ring("shop").Active().ID
	request("1")
	if w.ring("shop").Active().ID != first || w.issuer("shop").Status.HandledRotateRequest != "" {
		t.Fatal("the rotation did not wait for Next to be ripe, or is called handled")
	}
	if got, want := w.issuer("shop").Status.NextRotation.Time, w.clock.Now().Add(maxAge+skew).Truncate(time.Second); !got.Equal(want) {
		t.Errorf("nextRotation = %s, want %s, when Next is ripe", got, want)
	}
	w.clock.Step(maxAge + skew)
	w.reconcile("shop")
	w.wantReady("shop")
	second := w.ring("shop").Active().ID
	if second == first || w.issuer("shop").Status.HandledRotateRequest != "1" {
		t.Fatalf("handledRotateRequest = %q, want 1 and another key", w.issuer("shop").Status.HandledRotateRequest)
	}
	w.clock.Step(time.Hour)
	w.reconcile("shop")
	request("1")
	if got := w.ring("shop").Active().ID; got != second {
		t.Error("the same request rotated twice")
	}
	request("2")
	if got := w.ring("shop").Active().ID; got == second || w.issuer("shop").Status.HandledRotateRequest != "2" {
		t.Error("a second request did not rotate, although Next is ripe")
	}
}

// An issuer that is created with the annotation, such as from GitOps, has no older key that it could be about.
func TestRotationRequestedAtCreation(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", func(i *v1alpha1.TokenIssuer) {
		i.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: "1"}
	})
	if issuer.Status.HandledRotateRequest != "1" {
		t.Errorf("handledRotateRequest = %q, want 1", issuer.Status.HandledRotateRequest)
	}
	first := w.ring("shop").Active().ID
	w.clock.Step(time.Hour)
	w.reconcile("shop")
	if got := w.ring("shop").Active().ID; got != first {
		t.Error("the request that came with the issuer rotated its first key")
	}
}

func TestAlgorithmChangeRotatesThroughTheGates(t *testing.T) {
	for _, to := range []jose.SignatureAlgorithm{jose.EdDSA, jose.HS256} {
		t.Run(string(to), func(t *testing.T) {
			w := newWorld(t)
			issuer := w.settled("shop")
			before := w.token(issuer)
			edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Algorithm = v1alpha1.Algorithm(to) })
			w.reconcile("shop")
			w.wantReady("shop")
			ring := w.ring("shop")
			if ring.Active().Algorithm != jose.ES256 || ring.Next().Algorithm != to {
				t.Fatalf("Active is for %s and Next for %s, want ES256 and %s", ring.Active().Algorithm, ring.Next().Algorithm, to)
			}
			r := w.replica()
			w.clock.Step(maxAge + skew)
			w.reconcile("shop")
			w.wantReady("shop")
			if got := w.ring("shop").Active(); got.Algorithm != to || got.Exception != "" {
				t.Fatalf("Active is for %s with exception %q, want %s and none", got.Algorithm, got.Exception, to)
			}
			r.wantSoon(w.token(issuer), token.Allowed)
			if got := r.verifier.Verify(before, token.Want{}).Reason; got != token.Expired {
				t.Errorf("the token of the old algorithm: %s, want %s: its ten minutes are over and nothing else", got, token.Expired)
			}
		})
	}
}

// A key that has signed under a longer lifetime keeps its promise.
func TestLifetimeShortened(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", func(i *v1alpha1.TokenIssuer) { i.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: 4 * time.Hour} })
	r := w.replica()
	claims := w.claims(issuer)
	claims["exp"] = w.clock.Now().Add(4 * time.Hour).Unix()
	long := signWith(t, w.mounted("shop").Data, claims)
	r.wantSoon(long, token.Allowed)
	first := w.ring("shop").Active().ID

	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: lifetime} })
	w.reconcile("shop")
	w.wantReady("shop")
	if got, want := string(w.mounted("shop").Data[v1alpha1.DataMaxLifetime]), strconv.Itoa(int(lifetime.Seconds())); got != want {
		t.Errorf("file %s = %s, want %s", v1alpha1.DataMaxLifetime, got, want)
	}
	w.clock.Step(maxAge + skew)
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) {
		i.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: "now"}
	})
	w.reconcile("shop")
	w.wantReady("shop")
	if got, want := w.ring("shop").Key(first).RemoveAfter, w.clock.Now().Add(propagation+4*time.Hour+skew); !got.Equal(want) {
		t.Errorf("removeAfter = %s, want %s: the key has signed for four hours", got, want)
	}
	r.wantSoon(long, token.Allowed)
	r.wantSoon(w.token(issuer), token.Allowed)
}
