package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/token"
)

func TestNewIssuer(t *testing.T) {
	w := newWorld(t)
	w.create("shop")
	result := w.reconcile("shop")

	// Nobody may see a token whose key is not in the JWKS yet, so the JWKS comes before the Secret that workloads mount.
	// The second write of the ring records that the keys have been published.
	want := []string{
		"create Secret shop-keyring", "create ConfigMap shop-jwks", "create Secret shop-signing-key",
		"update Secret shop-keyring", "patch status TokenIssuer shop",
	}
	if got := w.journal.take(); !slices.Equal(got, want) {
		t.Errorf("writes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.wantReady("shop")
	for _, kind := range []string{v1alpha1.ConditionKeysLost, v1alpha1.ConditionSecretConflict, v1alpha1.ConditionRotationOverdue} {
		w.wantNoCondition("shop", kind)
	}
	if result.RequeueAfter != reevaluate {
		t.Errorf("RequeueAfter = %s, want %s: the rotation is later than that", result.RequeueAfter, reevaluate)
	}
	if got := w.reconcile("shop").RequeueAfter; got != reevaluate {
		t.Errorf("RequeueAfter of a second look = %s, want %s", got, reevaluate)
	}
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("a second look wrote %v, want nothing", got)
	}
}

func TestNewIssuerStatus(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	status, ring := issuer.Status, w.ring("shop")
	now := w.clock.Now().Truncate(time.Second)

	if len(status.Keys) != 2 || status.Keys[0].State != "Active" || status.Keys[1].State != "Next" {
		t.Fatalf("keys = %+v, want an Active and a Next", status.Keys)
	}
	if status.Keys[0].Exception != keyring.ExceptionFirstKey || status.Keys[1].Exception != "" {
		t.Errorf("exceptions = %q, %q, want %q for the first key alone", status.Keys[0].Exception, status.Keys[1].Exception, keyring.ExceptionFirstKey)
	}
	if status.ActiveKeyID != ring.Active().ID {
		t.Errorf("activeKeyID = %s, want %s", status.ActiveKeyID, ring.Active().ID)
	}
	for name, times := range map[string]struct {
		got  *metav1.Time
		want time.Time
	}{
		"lastRotation":        {status.LastRotation, now},
		"nextRotation":        {status.NextRotation, now.Add(720 * time.Hour)},
		"Active: publishedAt": {status.Keys[0].PublishedAt, now},
		"Next: publishedAt":   {status.Keys[1].PublishedAt, now},
		"Active: activatedAt": {status.Keys[0].ActivatedAt, now},
	} {
		if times.got == nil || !times.got.Time.Equal(times.want) {
			t.Errorf("%s = %v, want %s", name, times.got, times.want)
		}
	}
	if want := issuer.Spec.IssuerURL + "/.well-known/jwks.json"; status.JWKSURL != want {
		t.Errorf("jwksURL = %s, want %s", status.JWKSURL, want)
	}
}

func TestNewIssuerEvents(t *testing.T) {
	w := newWorld(t)
	w.settled("shop")
	ring := w.ring("shop")
	told := strings.Join(w.told(), "\n")
	for _, want := range []string{
		"Normal KeyCreated Key " + ring.Active().ID, "Normal KeyActivated Key " + ring.Active().ID, "Normal KeyCreated Key " + ring.Next().ID,
	} {
		if !strings.Contains(told, want) {
			t.Errorf("no event %q in:\n%s", want, told)
		}
	}
	if strings.Contains(told, "Warning") {
		t.Errorf("a new issuer is no cause for a warning:\n%s", told)
	}
}

// Each algorithm: what is mounted signs, and a replica that has heard of the issuer by its watches alone verifies it.
func TestEveryAlgorithmSignsAndVerifies(t *testing.T) {
	w := newWorld(t)
	r := w.replica()
	tests := []struct {
		algorithm v1alpha1.Algorithm
		keySize   *int32
	}{
		{"ES256", nil}, {"ES384", nil}, {"ES512", nil}, {"EdDSA", nil}, {"RS256", ptr.To[int32](2048)}, {"PS256", nil}, {"HS256", nil},
	}
	for _, test := range tests {
		t.Run(string(test.algorithm), func(t *testing.T) {
			name := strings.ToLower(string(test.algorithm))
			issuer := w.settled(name, func(i *v1alpha1.TokenIssuer) {
				i.Spec.Signing.Algorithm, i.Spec.Signing.KeySize = test.algorithm, test.keySize
			})
			mounted := w.mounted(name)
			if mounted.Type != v1alpha1.SecretTypeSigningKey {
				t.Errorf("type = %s, want %s", mounted.Type, v1alpha1.SecretTypeSigningKey)
			}
			for file, want := range map[string]string{
				v1alpha1.DataAlgorithm: string(test.algorithm), v1alpha1.DataIssuer: issuer.Spec.IssuerURL, v1alpha1.DataMaxLifetime: "900",
			} {
				if got := string(mounted.Data[file]); got != want {
					t.Errorf("file %s = %q, want %q", file, got, want)
				}
			}
			raw := w.token(issuer)
			r.wantSoon(raw, token.Allowed)
			// A verdict that never changes would prove nothing.
			r.wantSoon(raw[:len(raw)-8]+"AAAAAAAA", token.SignatureInvalid)
		})
	}
}

// An issuer that is deleted between being read and its status being written is no error.
func TestIssuerDeletedWhileReconciled(t *testing.T) {
	w := newWorld(t)
	issuer := w.create("shop")
	w.reconciler.Client = interceptWrites(withFields(w.WithWatch), func(verb string, _ client.Object, write func() error) error {
		if verb == "patch status" {
			w.remove(issuer)
		}
		return write()
	})
	if _, err := w.try("shop"); err != nil {
		t.Errorf("error %v, want none: the status of a deleted issuer is nobody's concern", err)
	}
	w.reconcile("shop") // there is nothing left to do
}

// What an earlier stop has left undone is done by whoever comes next, whatever the write before which it stopped.
func TestStopBeforeEveryWrite(t *testing.T) {
	w := newWorld(t)
	for stop := range 5 {
		t.Run(fmt.Sprintf("write %d", stop), func(t *testing.T) {
			name := fmt.Sprintf("shop-%d", stop)
			w.create(name)
			left := stop
			w.reconciler.Client = interceptWrites(withFields(w.WithWatch), func(_ string, _ client.Object, write func() error) error {
				if left--; left < 0 {
					return errStopped
				}
				return write()
			})
			if _, err := w.try(name); err == nil {
				t.Fatal("no error, want that of the write that failed")
			}
			var first string
			if stop > 0 {
				first = w.ring(name).Active().ID
			}
			w.reconciler.Client = withFields(w.WithWatch)
			w.reconcile(name)
			w.wantReady(name)
			if got := w.ring(name).Active().ID; stop > 0 && got != first {
				t.Errorf("the first key was %s and is %s now, want the same", first, got)
			}
			w.wantNoCondition(name, v1alpha1.ConditionKeysLost)
		})
	}
}
