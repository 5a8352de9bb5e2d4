package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/testenv"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(discard)
	os.Exit(testenv.Main(m))
}

// deadline bounds every wait for something that happens in milliseconds on an idle machine.
const deadline = time.Minute

var testScheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}()

// world is one namespace of a real API server, with reconcilers that a test calls itself and whose clock it turns.
type world struct {
	testing.TB
	client.WithWatch // an administrator's, past any cache

	namespace  string
	clock      *clocktesting.FakeClock
	events     *events.FakeRecorder
	journal    *journal
	audited    *lines
	reconciler *TokenIssuerReconciler
}

func newWorld(t testing.TB) *world {
	t.Helper()
	admin, err := client.NewWithWatch(testenv.Environment(t).Config, client.Options{Scheme: testScheme})
	if err != nil {
		t.Fatalf("making a client of the test's API server: %v", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := admin.Create(t.Context(), namespace); err != nil {
		t.Fatalf("creating a namespace: %v", err)
	}
	w := &world{
		TB: t, WithWatch: admin, namespace: namespace.Name,
		// Fractions of a second, because real clocks have them and the API keeps none.
		clock:   clocktesting.NewFakeClock(namespace.CreationTimestamp.Add(123456789 * time.Nanosecond)),
		events:  events.NewFakeRecorder(10_000),
		journal: &journal{},
		audited: &lines{},
	}
	w.reconciler = w.newReconciler(w.journal.record(withFields(admin)))
	return w
}

func (w *world) newReconciler(c client.Client) *TokenIssuerReconciler {
	return &TokenIssuerReconciler{
		Client: c, APIReader: w.WithWatch, Recorder: w.events, Clock: w.clock, Generate: keyring.Generate,
		Audit: audit.New(w.audited, w.clock),
	}
}

// create makes an issuer with signing and otherwise the defaults, after edits.
func (w *world) create(name string, edits ...func(*v1alpha1.TokenIssuer)) *v1alpha1.TokenIssuer {
	w.Helper()
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://" + w.namespace + ".example/" + name,
			Audiences: []string{"shop-api"},
			Signing:   &v1alpha1.Signing{},
		},
	}
	for _, edit := range edits {
		edit(issuer)
	}
	if err := w.Create(w.Context(), issuer); err != nil {
		w.Fatalf("creating the TokenIssuer %s: %v", name, err)
	}
	return issuer
}

// settled makes an issuer and lets the reconciler finish with it.
func (w *world) settled(name string, edits ...func(*v1alpha1.TokenIssuer)) *v1alpha1.TokenIssuer {
	w.Helper()
	w.create(name, edits...)
	w.reconcile(name)
	w.wantReady(name)
	return w.issuer(name)
}

// reconcile runs the reconciler once and fails the test if it fails.
func (w *world) reconcile(name string) ctrl.Result {
	w.Helper()
	result, err := w.try(name)
	if err != nil {
		w.Fatalf("reconciling %s: %v", name, err)
	}
	return result
}

func (w *world) try(name string) (ctrl.Result, error) {
	return w.reconciler.Reconcile(w.Context(), w.request(name))
}

func (w *world) request(name string) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: w.namespace, Name: name}}
}

// edit changes an object as kubectl edit does: what is there now, and again after a lost race.
func edit[T client.Object](w *world, object T, change func(T)) {
	w.Helper()
	eventually(w, "an edit of "+object.GetName(), func() error {
		if err := w.Get(w.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return w.Update(w.Context(), object)
	})
}

// relabel is an edit that sets a label, or takes it away where value is empty.
func relabel[T client.Object](label, value string) func(T) {
	return func(object T) {
		labels := object.GetLabels()
		if delete(labels, label); value != "" {
			labels[label] = value
		}
		object.SetLabels(labels)
	}
}

// remove deletes an object that must be there.
func (w *world) remove(object client.Object) {
	w.Helper()
	if err := w.Delete(w.Context(), object); err != nil {
		w.Fatalf("deleting %s: %v", object.GetName(), err)
	}
}

func (w *world) issuer(name string) *v1alpha1.TokenIssuer {
	return fetch(w, name, &v1alpha1.TokenIssuer{})
}

func (w *world) ringSecret(issuer string) *corev1.Secret {
	return fetch(w, issuers.RingSecretName(issuer), &corev1.Secret{})
}

func (w *world) jwks(issuer string) *corev1.ConfigMap {
	return fetch(w, issuer+"-jwks", &corev1.ConfigMap{})
}

func (w *world) mounted(issuer string) *corev1.Secret {
	return fetch(w, issuer+"-signing-key", &corev1.Secret{})
}

// fetch reads an object that must be there.
func fetch[T client.Object](w *world, name string, object T) T {
	w.Helper()
	if err := w.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, object); err != nil {
		w.Fatalf("reading %T %s: %v", object, name, err)
	}
	return object
}

// wantGone fails the test if there is such an object.
func (w *world) wantGone(name string, object client.Object) {
	w.Helper()
	err := w.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, object)
	if client.IgnoreNotFound(err) != nil || err == nil {
		w.Errorf("%T %s: error %v, want that there is none", object, name, err)
	}
}

func (w *world) ring(issuer string) *keyring.Ring {
	w.Helper()
	ring, err := keyring.Decode(w.ringSecret(issuer).Data[v1alpha1.DataRing])
	if err != nil {
		w.Fatalf("the ring of %s: %v", issuer, err)
	}
	return ring
}

// wantCondition fails the test unless the issuer has the condition, for the spec as it is now.
func (w *world) wantCondition(name, kind string, status metav1.ConditionStatus, reason string) *metav1.Condition {
	w.Helper()
	issuer := w.issuer(name)
	condition := meta.FindStatusCondition(issuer.Status.Conditions, kind)
	switch {
	case condition == nil:
		w.Fatalf("%s has no condition %s: %+v", name, kind, issuer.Status.Conditions)
	case condition.Status != status || condition.Reason != reason:
		w.Errorf("%s: %s=%s (%s: %s), want %s (%s)", name, kind, condition.Status, condition.Reason, condition.Message, status, reason)
	case condition.ObservedGeneration != issuer.Generation || issuer.Status.ObservedGeneration != issuer.Generation:
		w.Errorf("%s: %s is about generation %d and the status about %d, want %d",
			name, kind, condition.ObservedGeneration, issuer.Status.ObservedGeneration, issuer.Generation)
	}
	return condition
}

func (w *world) wantNoCondition(name, kind string) {
	w.Helper()
	if condition := meta.FindStatusCondition(w.issuer(name).Status.Conditions, kind); condition != nil {
		w.Errorf("%s: %s=%s (%s), want no such condition", name, kind, condition.Status, condition.Message)
	}
}

func (w *world) wantReady(name string) {
	w.Helper()
	w.wantCondition(name, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	w.wantCondition(name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if err := w.coherent(name); err != nil {
		w.Error(err)
	}
}

// told returns the events since it was last asked.
func (w *world) told() []string {
	var told []string
	for {
		select {
		case event := <-w.events.Events:
			told = append(told, event)
		default:
			return told
		}
	}
}

// eventually polls until check returns nil, and fails the test with its last error at the deadline.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, deadline, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, errors.Join(fmt.Errorf("gave up: %w", err), last))
	}
}
