package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/token"
)

// shared gives issuers one URL.
func (w *world) shared(i *v1alpha1.TokenIssuer) {
	i.Spec.IssuerURL = "https://" + w.namespace + ".example"
}

// Of two issuers with one URL the older keeps it; of two of the same second the first by name. Issuers a and b are created
// in one go, so in most runs in one second; with the names it is decided in all of them.
func TestTwoIssuersWithOneURL(t *testing.T) {
	w := newWorld(t)
	r := w.replica()
	a := w.create("a", w.shared)
	w.create("b", w.shared)
	w.reconcile("b")
	w.wantCondition("b", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	refused := w.wantCondition("b", v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonURLConflict)
	if !strings.Contains(refused.Message, "TokenIssuer a in namespace "+w.namespace) {
		t.Errorf("message = %q, want it to name the one that keeps the URL", refused.Message)
	}
	w.reconcile("a")
	w.wantReady("a")
	r.wantSoon(w.token(a), token.Allowed)
	w.wantGone("b-keyring", &corev1.Secret{}) // no keys without a URL
	w.journal.take()
	w.reconcile("b")
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("looking again writes %v", got)
	}

	w.remove(a)
	w.reconcile("b")
	w.wantReady("b")
	r.wantSoon(w.token(w.issuer("b")), token.Allowed)
}

func TestURLOwnerByAgeAndName(t *testing.T) {
	at := func(second int64, namespace, name string) v1alpha1.TokenIssuer {
		return v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, CreationTimestamp: metav1.Unix(second, 0),
		}}
	}
	tests := map[string]struct {
		issuers []v1alpha1.TokenIssuer
		want    string
	}{
		"older, whatever its name":       {[]v1alpha1.TokenIssuer{at(2, "a", "a"), at(1, "b", "b")}, "b/b"},
		"same second: by namespace":      {[]v1alpha1.TokenIssuer{at(1, "b", "a"), at(1, "a", "b")}, "a/b"},
		"same second: by name":           {[]v1alpha1.TokenIssuer{at(1, "a", "b"), at(1, "a", "a")}, "a/a"},
		"a list in another order":        {[]v1alpha1.TokenIssuer{at(1, "a", "a"), at(1, "a", "b")}, "a/a"},
		"alone":                          {[]v1alpha1.TokenIssuer{at(9, "z", "z")}, "z/z"},
		"three, the oldest in the midst": {[]v1alpha1.TokenIssuer{at(3, "a", "a"), at(1, "c", "c"), at(2, "b", "b")}, "c/c"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			owner := issuers.URLOwner(test.issuers)
			if got := owner.Namespace + "/" + owner.Name; got != test.want {
				t.Errorf("owner = %s, want %s", got, test.want)
			}
		})
	}
}
