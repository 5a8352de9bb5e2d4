package authserver

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func apiClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(testenv.Environment(t).Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newNamespace(t *testing.T, c client.Client) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "logout-"}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

func TestRevokeSubject(t *testing.T) {
	c := apiClient(t)
	issuer := types.NamespacedName{Namespace: newNamespace(t, c), Name: "shop"}
	revocations := NewRevocations(c)
	before := noon.Truncate(time.Second).Add(time.Second)
	for _, subject := range []string{"staff:alice", "staff:bob", "staff:alice"} {
		if err := revocations.RevokeSubject(t.Context(), issuer, subject, before); err != nil {
			t.Fatal(err)
		}
	}
	// A part of a second denies all of it.
	if err := revocations.RevokeSubject(t.Context(), issuer, "staff:alice", before.Add(-300*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := revocations.RevokeSubject(t.Context(), issuer, "staff:alice", before.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	list := &v1alpha1.TokenRevocationList{}
	if err := c.List(t.Context(), list, client.InNamespace(issuer.Namespace)); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for i := range list.Items {
		spec := &list.Items[i].Spec
		if spec.IssuerRef.Name != "shop" || spec.IssuedBefore == nil || spec.Reason == "" || spec.RetainAfterExpiry {
			t.Errorf("the spec is %+v", spec)
			continue
		}
		found[spec.Subject+" "+spec.IssuedBefore.UTC().Format(time.TimeOnly)] = true
	}
	if len(list.Items) != 3 || !found["staff:alice 12:00:01"] || !found["staff:bob 12:00:01"] || !found["staff:alice 12:00:02"] {
		t.Errorf("there are %d TokenRevocations: %v", len(list.Items), found)
	}
}

// TestRevocationOfTheSameName is one that somebody has made to be in the way.
func TestRevocationOfTheSameName(t *testing.T) {
	c := apiClient(t)
	issuer := types.NamespacedName{Namespace: newNamespace(t, c), Name: "shop"}
	before := noon.Truncate(time.Second)
	earlier := metav1.NewTime(before.Add(-time.Second))
	for subject, spec := range map[string]v1alpha1.TokenRevocationSpec{
		"alice": {Subject: "bob", IssuedBefore: &metav1.Time{Time: before}},
		"carol": {Subject: "carol", IssuedBefore: &earlier},
		"dora":  {Subject: "dora"},
		"eve":   {Subject: "eve", IssuedBefore: &metav1.Time{Time: before}, IssuerRef: v1alpha1.IssuerReference{Name: "other"}},
	} {
		if spec.IssuerRef.Name == "" {
			spec.IssuerRef.Name = issuer.Name
		}
		made := &v1alpha1.TokenRevocation{
			ObjectMeta: metav1.ObjectMeta{Namespace: issuer.Namespace, Name: revocationName(issuer.Name, subject, before)}, Spec: spec,
		}
		if err := c.Create(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		err := NewRevocations(c).RevokeSubject(t.Context(), issuer, subject, before)
		if err == nil || !strings.Contains(err.Error(), "delete it") {
			t.Errorf("%s: error %v", subject, err)
		}
	}
}

func TestRevocationThatCannotBeCreated(t *testing.T) {
	c := apiClient(t)
	issuer := types.NamespacedName{Namespace: "there-is-none", Name: "shop"}
	if err := NewRevocations(c).RevokeSubject(t.Context(), issuer, "alice", noon); err == nil {
		t.Error("in a namespace that does not exist: no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewRevocations(c).RevokeSubject(ctx, types.NamespacedName{Namespace: "default", Name: "shop"}, "alice", noon); err == nil {
		t.Error("with a canceled context: no error")
	}
}
