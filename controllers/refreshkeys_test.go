package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
)

// What the keys for refresh tokens of an issuer with the schema's defaults go by.
const (
	keyPeriod       = session.DefaultKeyPeriod
	warmUp          = session.DefaultKeyWarmUp
	longestSession  = 336 * time.Hour
	refreshKeysName = "shop-refresh-keys"
)

// sessions is an edit that lets workloads open sessions, with the schema's defaults.
func sessions(i *v1alpha1.TokenIssuer) {
	i.Spec.Sessions = &v1alpha1.SessionPolicy{Login: v1alpha1.LoginSources{ServiceAccounts: &v1alpha1.ServiceAccountLogin{}}}
}

func (w *world) refreshSecret(issuer string) *corev1.Secret {
	return fetch(w, issuers.RefreshKeysSecretName(issuer), &corev1.Secret{})
}

func (w *world) refreshKeys(issuer string) *session.Keys {
	w.Helper()
	keys, err := session.DecodeKeys(w.refreshSecret(issuer).Data[v1alpha1.DataRefreshKeys])
	if err != nil {
		w.Fatalf("the keys for refresh tokens of %s: %v", issuer, err)
	}
	return keys
}

// wantRefreshKeys fails the test unless the Secret holds these keys and no others, and the status shows them.
func (w *world) wantRefreshKeys(issuer string, want ...string) {
	w.Helper()
	var got []string
	for _, key := range w.refreshKeys(issuer).All() {
		got = append(got, key.ID.String())
	}
	if !slices.Equal(got, want) {
		w.Errorf("the keys for refresh tokens are %v, want %v", got, want)
	}
	if told := w.toldRefreshKeys(issuer); !slices.Equal(told, want) {
		w.Errorf("status.refreshKeys has %v, want %v", told, want)
	}
}

func (w *world) toldRefreshKeys(issuer string) []string {
	w.Helper()
	var told []string
	for _, key := range w.issuer(issuer).Status.RefreshKeys {
		told = append(told, key.ID)
	}
	return told
}

// newestRefreshKey is the id of the key that opens sessions, or will.
func (w *world) newestRefreshKey(issuer string) string {
	w.Helper()
	all := w.refreshKeys(issuer).All()
	return all[len(all)-1].ID.String()
}

func TestRefreshKeysAreCreated(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", sessions)
	secret := w.refreshSecret("shop")
	if secret.Type != v1alpha1.SecretTypeRefreshKeys || !maps.Equal(secret.Labels, labelsOf("shop", v1alpha1.ComponentRefreshKeys)) {
		t.Errorf("the Secret has the type %s and the labels %v", secret.Type, secret.Labels)
	}
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != issuer.UID || len(secret.Data) != 1 {
		t.Errorf("the Secret has the owners %v and %d files", secret.OwnerReferences, len(secret.Data))
	}
	id := w.newestRefreshKey("shop")
	w.wantRefreshKeys("shop", id)
	status := issuer.Status.RefreshKeys[0]
	if !status.UsableFrom.Time.Equal(w.clock.Now().Truncate(time.Second)) || status.RemoveAfter != nil {
		t.Errorf("status = %+v, want a key that is usable now and goes on", status)
	}
	if told := strings.Join(w.told(), "\n"); !strings.Contains(told, "Normal RefreshKeyCreated Key "+id) || strings.Contains(told, "Warning") {
		t.Errorf("events:\n%s", told)
	}

	w.journal.take()
	w.reconcile("shop")
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("looking again writes %v, want nothing", got)
	}
	w.settled("plain")
	w.wantGone(issuers.RefreshKeysSecretName("plain"), &corev1.Secret{})
}

// A replica whose cache has not heard of the Secret, for whatever reason, makes no other keys.
func TestRefreshKeysThatTheCacheDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	w.told()
	w.journal.take()
	blind := w.newReconciler(w.journal.record(w.without(refreshKeysName)))
	if _, err := blind.Reconcile(t.Context(), w.request("shop")); err != nil {
		t.Fatal(err)
	}
	if got := w.journal.take(); len(got) > 0 {
		t.Errorf("writes = %v, want not even an attempt to create what is there", got)
	}
	if told := w.told(); len(told) > 0 {
		t.Errorf("events = %q, want none", told)
	}
}

// without is a client whose cache has no Secret of this name.
func (w *world) without(name string) client.WithWatch {
	return interceptor.NewClient(withFields(w.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if _, ok := object.(*corev1.Secret); ok && key.Name == name {
				return apierrors.NewNotFound(corev1.Resource("secrets"), name)
			}
			return c.Get(ctx, key, object, options...)
		},
	})
}

// Of two replicas that both find no keys, the second takes those of the first.
func TestRefreshKeysCreatedByAnotherMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.create("shop", sessions)
	other := w.newReconciler(withFields(w.WithWatch))
	w.reconciler.Client = interceptWrites(withFields(w.WithWatch), func(verb string, object client.Object, write func() error) error {
		if verb == "create" && object.GetName() == refreshKeysName {
			if _, err := other.Reconcile(t.Context(), w.request("shop")); err != nil {
				t.Fatal(err)
			}
		}
		return write()
	})
	w.reconcile("shop")
	w.wantReady("shop")
	w.wantRefreshKeys("shop", w.newestRefreshKey("shop"))
	told := strings.Join(w.told(), "\n")
	if got := strings.Count(told, "RefreshKeyCreated"); got != 1 || strings.Contains(told, "RefreshKeysLost") {
		t.Errorf("%d keys were created, want one and no warning:\n%s", got, told)
	}
}

// A replica whose cache shows an older Secret makes no key that another has made, and those that are due all the same.
func TestRefreshKeysWithAStaleCache(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	stale := w.newReconciler(w.frozen(map[string]client.Object{
		"shop-keyring": w.ringSecret("shop"), "shop-jwks": w.jwks("shop"), "shop-signing-key": w.mounted("shop"),
		refreshKeysName: w.refreshSecret("shop"),
	}))
	w.clock.Step(keyPeriod)
	w.reconcile("shop")
	want := w.refreshSecret("shop")
	second := w.newestRefreshKey("shop")
	if _, err := stale.Reconcile(t.Context(), w.request("shop")); err != nil {
		t.Fatal(err)
	}
	if w.refreshSecret("shop").ResourceVersion != want.ResourceVersion {
		t.Error("the Secret was written, though another replica had made the next key")
	}
	w.clock.Step(keyPeriod)
	if _, err := stale.Reconcile(t.Context(), w.request("shop")); err != nil {
		t.Fatal(err)
	}
	w.wantReady("shop")
	third := w.newestRefreshKey("shop")
	if third == second {
		t.Error("the rotation that is due has not happened")
	}
	w.wantRefreshKeys("shop", second, third)
}

// The next key is made before its time, and the old one serves its sessions until the longest of them has expired.
func TestRefreshKeyRotation(t *testing.T) {
	const lead = warmUp + skew
	w := newWorld(t)
	// The ring rests, so that every timer is one of the keys for refresh tokens.
	w.settled("shop", sessions, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Rotation.Period = duration(87600 * time.Hour) })
	start := w.clock.Now()
	first := w.newestRefreshKey("shop")
	at := func(after time.Duration) time.Duration {
		w.clock.SetTime(start.Add(after))
		return w.reconcile("shop").RequeueAfter
	}
	if got := at(keyPeriod - lead - time.Second); got != time.Second {
		t.Errorf("RequeueAfter a second before the next key is due = %s, want 1s", got)
	}
	w.wantRefreshKeys("shop", first)
	at(keyPeriod - lead)
	second := w.newestRefreshKey("shop")
	w.wantRefreshKeys("shop", first, second)
	removal := keyPeriod + lead + longestSession + skew
	for i, want := range []time.Duration{0, keyPeriod} {
		if got := w.issuer("shop").Status.RefreshKeys[i].UsableFrom; !got.Time.Equal(start.Add(want).Truncate(time.Second)) {
			t.Errorf("key %d is usable from %s on, want %s after the start", i, got, want)
		}
	}
	if got := w.issuer("shop").Status.RefreshKeys[0].RemoveAfter; !got.Time.Equal(start.Add(removal).Truncate(time.Second)) {
		t.Errorf("removeAfter = %s, want %s after the start", got, removal)
	}
	if current := w.refreshKeys("shop").Current(start.Add(keyPeriod - 1)).ID.String(); current != first {
		t.Errorf("%s opens sessions before %s has been known for long enough", current, second)
	}

	if got := at(removal - time.Second); got != time.Second {
		t.Errorf("RequeueAfter a second before the old key may go = %s, want 1s", got)
	}
	w.wantRefreshKeys("shop", first, second)
	w.told()
	at(removal)
	w.wantRefreshKeys("shop", second)
	w.wantReady("shop")
	if told := w.told(); len(told) != 1 || !strings.Contains(told[0], "Normal RefreshKeyRemoved Key "+first) {
		t.Errorf("events = %q, want one RefreshKeyRemoved", told)
	}
}

// A key vouches for no longer sessions than it was written with, so a longer lifetime is written.
func TestLongerSessionsAreWrittenToTheKey(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", sessions)
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Sessions.AbsoluteLifetime = duration(8760 * time.Hour) })
	w.reconcile("shop")
	w.wantReady("shop")
	if got := w.refreshKeys("shop").All()[0].MaxLifetime; got != 8760*time.Hour {
		t.Errorf("the key vouches for sessions of %s, want 8760h", got)
	}
}

// Sessions that are taken out of the spec may come back, and whoever was logged in is logged in then.
func TestRefreshKeysOutliveSessions(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop", sessions)
	before := w.refreshSecret("shop")
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Sessions = nil })
	w.clock.Step(keyPeriod)
	w.reconcile("shop")
	w.wantReady("shop")
	if got := w.refreshSecret("shop").ResourceVersion; got != before.ResourceVersion {
		t.Error("the Secret was written although there are no sessions")
	}
	if told := w.toldRefreshKeys("shop"); len(told) > 0 {
		t.Errorf("status.refreshKeys = %v, want none: nobody looks after them", told)
	}
	edit(w, issuer, sessions)
	w.reconcile("shop")
	w.wantReady("shop")
	if keys := w.refreshKeys("shop").All(); len(keys) != 2 || w.toldRefreshKeys("shop")[0] != keys[0].ID.String() {
		t.Errorf("%d keys, want the old one and the next", len(keys))
	}
}

func TestDeletionPolicyOfRefreshKeys(t *testing.T) {
	w := newWorld(t)
	former := w.settled("shop", sessions, retained)
	before := w.newestRefreshKey("shop")
	if owners := w.refreshSecret("shop").OwnerReferences; len(owners) > 0 {
		t.Errorf("owners = %v, want none, or the keys would be deleted with the issuer", owners)
	}
	w.remove(former)
	w.told()
	issuer := w.settled("shop", sessions, retained)
	w.wantRefreshKeys("shop", before)
	if told := strings.Join(w.told(), "\n"); strings.Contains(told, "RefreshKey") {
		t.Errorf("the retained keys are not taken for what they are:\n%s", told)
	}
	edit(w, issuer, func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.DeletionPolicy = v1alpha1.DeletionDelete })
	w.reconcile("shop")
	if owners := w.refreshSecret("shop").OwnerReferences; len(owners) != 1 || owners[0].UID != issuer.UID {
		t.Errorf("owners = %v, want the issuer, or the keys would outlive it", owners)
	}
	w.wantRefreshKeys("shop", before)
}

// When all that may be kept are in use the newest goes on, and it is said what to do.
func TestRefreshKeysFull(t *testing.T) {
	w := newWorld(t)
	w.settled("shop", sessions)
	now := w.clock.Now()
	policy := session.KeyPolicy{Period: time.Hour, AbsoluteLifetime: session.MaxAbsoluteLifetime}
	var keys *session.Keys
	for range session.MaxKeys {
		decision, err := session.PlanKeys(now, policy, keys, strings.NewReader(fmt.Sprintf("%032d", now.Unix())))
		if err != nil {
			t.Fatal(err)
		}
		keys, now = decision.Keys, decision.Wake
	}
	document, err := session.EncodeKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	edit(w, w.refreshSecret("shop"), func(s *corev1.Secret) { s.Data[v1alpha1.DataRefreshKeys] = document })
	w.clock.SetTime(now.Add(keyPeriod))
	before := w.refreshSecret("shop").ResourceVersion
	w.reconcile("shop")
	w.wantCondition("shop", v1alpha1.ConditionRotationOverdue, metav1.ConditionTrue, v1alpha1.ReasonRefreshKeysFull)
	w.wantReady("shop")
	if got := len(w.toldRefreshKeys("shop")); got != session.MaxKeys || w.refreshSecret("shop").ResourceVersion != before {
		t.Errorf("%d keys in the status, want %d and none made or dropped", got, session.MaxKeys)
	}
	w.clock.Step(session.MaxAbsoluteLifetime)
	w.reconcile("shop")
	w.wantReady("shop")
	w.wantNoCondition("shop", v1alpha1.ConditionRotationOverdue)
}
