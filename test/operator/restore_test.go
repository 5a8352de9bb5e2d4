package operator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// restoredKinds are what a namespace is made of for Keyturn, in the order in which Velero restores kinds unless it is told
// otherwise: Secrets and ConfigMaps early, custom resources by name.
var restoredKinds = []schema.GroupVersionKind{
	corev1.SchemeGroupVersion.WithKind("Secret"), corev1.SchemeGroupVersion.WithKind("ConfigMap"),
	v1alpha1.GroupVersion.WithKind("Session"), v1alpha1.GroupVersion.WithKind("TokenIssuer"), v1alpha1.GroupVersion.WithKind("TokenRevocation"),
}

// backedUp are all objects of a namespace, in the order in which they are restored.
func backedUp(a *testoperator.Administrator) []*unstructured.Unstructured {
	a.Helper()
	var objects []*unstructured.Unstructured
	for _, kind := range restoredKinds {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		if err := a.List(a.Context(), list, client.InNamespace(a.Namespace)); err != nil {
			a.Fatal(err)
		}
		for i := range list.Items {
			objects = append(objects, &list.Items[i])
		}
	}
	return objects
}

// asVelero leaves out what Velero leaves out, and adds what it adds. Finalizers stay.
func asVelero(object *unstructured.Unstructured) *unstructured.Unstructured {
	restored := object.DeepCopy()
	metadata := restored.Object["metadata"].(map[string]any)
	for _, field := range []string{
		"generateName", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
		"deletionGracePeriodSeconds", "ownerReferences", "managedFields",
	} {
		delete(metadata, field)
	}
	delete(restored.Object, "status")
	labels := restored.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["velero.io/backup-name"], labels["velero.io/restore-name"] = "daily", "again"
	restored.SetLabels(labels)
	return restored
}

// wipe deletes all of it, as the deletion of the namespace does: nothing in it keeps anything back.
func wipe(a *testoperator.Administrator, objects []*unstructured.Unstructured) {
	a.Helper()
	// Issuers before Sessions, because a Session that is deleted while its issuer lives leaves a revocation behind.
	for _, object := range slices.Backward(objects) {
		if err := client.IgnoreNotFound(a.Delete(a.Context(), object.DeepCopy())); err != nil {
			a.Fatal(err)
		}
		unhold := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		if err := client.IgnoreNotFound(a.Patch(a.Context(), object.DeepCopy(), unhold)); err != nil {
			a.Fatal(err)
		}
	}
	testoperator.Eventually(a.TB, "the namespace empty", func() error {
		if left := backedUp(a); len(left) > 0 {
			return fmt.Errorf("%d objects are left, such as %s %s", len(left), left[0].GetKind(), left[0].GetName())
		}
		return nil
	})
}

// past is what has happened in a namespace before its backup.
type past struct {
	*testoperator.Administrator
	issuer *v1alpha1.TokenIssuer
	// good are tokens that pass, of two keys, and denied those that do not.
	good, denied map[string]string
	// live is a session that was refreshed once, from used, and ended is one that has logged out.
	used, live, ended grant
	keys              []string
}

// newPast plays it: two rotations, a stolen key, revocations of several kinds, and sessions.
func newPast(a *testoperator.Administrator, p *testoperator.Process) *past {
	a.Helper()
	w := &past{Administrator: a, good: map[string]string{}, denied: map[string]string{}}
	w.issuer = a.NewSessionIssuer(p, "shop", func(spec *v1alpha1.TokenIssuerSpec) {
		second := metav1.Duration{Duration: time.Second}
		spec.JWKS.MaxAge, spec.Tokens.ClockSkew, spec.Signing.Secret.PropagationDelay = second, second, second
	})
	a.WithoutGrace(w.issuer)
	https, workload := p.Client(), a.NewWorkload(w.issuer, "login", v1alpha1.VerbIssue)

	stolen := a.Secret(a.Namespace, "shop-signing-key")
	w.denied["of a stolen key"] = sign(a.TB, stolen, "mallory")
	w.rotate("first")
	mounted := a.Secret(a.Namespace, "shop-signing-key")
	for _, who := range []string{"by its id", "by its subject", "by its subject, until now"} {
		w.denied[who] = sign(a.TB, mounted, who)
	}
	w.good["of a key that has retired"] = sign(a.TB, mounted, "alice")
	w.rotate("second")
	w.good["of the active key"] = sign(a.TB, a.Secret(a.Namespace, "shop-signing-key"), "alice")

	w.used = open(a.TB, https, w.issuer, workload, "alice")
	w.live = w.refresh(https, w.used.RefreshToken)
	w.good["of a session"] = w.live.AccessToken
	w.ended = open(a.TB, https, w.issuer, workload, "alice")
	form := url.Values{"token": {w.ended.RefreshToken}}
	if g, err := ask(a.Context(), https, http.MethodPost, w.issuer.Spec.IssuerURL+"/revoke", "application/x-www-form-urlencoded", form.Encode(), nil); err != nil || g.status != http.StatusOK {
		a.Fatalf("ending a session: %d, error %v", g.status, err)
	}
	w.denied["of a session that has ended"] = w.ended.AccessToken
	revokedSession := open(a.TB, https, w.issuer, workload, "alice")
	w.denied["of a session that is revoked"] = revokedSession.AccessToken

	later := &metav1.Time{Time: time.Now().Add(time.Hour)}
	for name, spec := range map[string]v1alpha1.TokenRevocationSpec{
		"key":     {KeyID: string(stolen.Data[v1alpha1.DataKeyID])},
		"token":   {TokenID: "token-of-by its id"},
		"subject": {Subject: "by its subject", IssuedBefore: later},
		"until":   {Subject: "by its subject, until now"},
		"session": {SessionID: revokedSession.SessionID},
	} {
		spec.IssuerRef.Name = w.issuer.Name
		a.Make(&v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: name}, Spec: spec})
	}
	w.wantVerdicts(p)
	testoperator.Eventually(a.TB, "the stolen key gone", func() error {
		if w.keys = w.keyIDs(); strings.Contains(strings.Join(w.keys, " "), string(stolen.Data[v1alpha1.DataKeyID])) {
			return fmt.Errorf("the keys are %v", w.keys)
		}
		return nil
	})
	return w
}

// rotate asks for a rotation and waits for it.
func (w *past) rotate(request string) {
	w.Helper()
	before := w.issuer.DeepCopy()
	w.issuer.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: request}
	if err := w.Patch(w.Context(), w.issuer, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
	testoperator.Eventually(w.TB, "the rotation", func() error {
		if err := w.Get(w.Context(), client.ObjectKeyFromObject(w.issuer), w.issuer); err != nil {
			return err
		}
		mounted := w.Secret(w.Namespace, "shop-signing-key").Data[v1alpha1.DataKeyID]
		if w.issuer.Status.HandledRotateRequest != request || string(mounted) != w.issuer.Status.ActiveKeyID {
			return fmt.Errorf("handled %q, active %s, mounted %s", w.issuer.Status.HandledRotateRequest, w.issuer.Status.ActiveKeyID, mounted)
		}
		return nil
	})
	w.WaitReady(w.issuer)
}

func (w *past) refresh(https *http.Client, token string) grant {
	w.Helper()
	g, err := refresh(w.Context(), https, w.issuer, token)
	if err != nil || g.status != http.StatusOK {
		w.Fatalf("refreshing: %d %s %s, error %v", g.status, g.Error, g.Description, err)
	}
	return g
}

// keyIDs are those of the signing keys and of the keys for refresh tokens.
func (w *past) keyIDs() []string {
	w.Helper()
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(w.issuer), w.issuer); err != nil {
		w.Fatal(err)
	}
	ids := []string{"active " + w.issuer.Status.ActiveKeyID}
	for _, key := range w.issuer.Status.Keys {
		ids = append(ids, string(key.State)+" "+key.ID)
	}
	for _, key := range w.issuer.Status.RefreshKeys {
		ids = append(ids, "refresh "+key.ID)
	}
	return ids
}

func (w *past) wantVerdicts(p *testoperator.Process) {
	w.Helper()
	https := p.Client()
	for of, raw := range w.good {
		w.Logf("a good token %s", of)
		p.WantVerdict(https, raw, http.StatusOK)
	}
	for of, raw := range w.denied {
		w.Logf("a denied token %s", of)
		p.WantVerdict(https, raw, http.StatusUnauthorized)
	}
}

func (w *past) wantSameKeys() {
	w.Helper()
	w.WaitReady(w.issuer)
	testoperator.Eventually(w.TB, "the same keys", func() error {
		if diff := cmp.Diff(w.keys, w.keyIDs()); diff != "" {
			return fmt.Errorf("the keys differ (-before +after):\n%s", diff)
		}
		return nil
	})
}

// wantSame checks that everything is as it was before the backup.
func (w *past) wantSame(p *testoperator.Process) {
	w.Helper()
	w.wantSameKeys()
	w.wantVerdicts(p)
	https := p.Client()
	if g, err := refresh(w.Context(), https, w.issuer, w.ended.RefreshToken); err != nil || g.Error != "invalid_grant" {
		w.Errorf("a session that has ended is refreshed: %d %s, error %v", g.status, g.Error, err)
	}
	next := w.refresh(https, w.live.RefreshToken)
	p.WantVerdict(https, next.AccessToken, http.StatusOK)
	next = w.refresh(https, next.RefreshToken)
	if g, err := refresh(w.Context(), https, w.issuer, w.used.RefreshToken); err != nil || g.Error != "invalid_grant" {
		w.Errorf("a used refresh token is answered %d %s, error %v; want invalid_grant", g.status, g.Error, err)
	}
	p.WantVerdict(https, next.AccessToken, http.StatusUnauthorized)
}

// TestNamespaceRestoredWithoutStatus deletes everything and restores it as Velero does, while the operator runs and while
// it does not.
func TestNamespaceRestoredWithoutStatus(t *testing.T) {
	for name, running := range map[string]bool{"the operator runs": true, "the operator is stopped": false} {
		t.Run(name, func(t *testing.T) {
			a := testoperator.NewAdministrator(t)
			user := a.User()
			p := testoperator.Run(a, user)
			p.WaitReady()
			w := newPast(a, p)
			// Good now, since it was issued after the revocation. That is the one thing that a restore changes: a
			// revocation without issuedBefore counts from its creation, and restored, it is younger.
			time.Sleep(2 * time.Second)
			between := sign(t, a.Secret(a.Namespace, "shop-signing-key"), "by its subject, until now")
			p.WantVerdict(p.Client(), between, http.StatusOK)
			time.Sleep(2 * time.Second)

			backup := backedUp(a)
			if !running {
				end(p)
			}
			wipe(a, backup)
			for _, object := range backup {
				a.Make(asVelero(object))
			}
			if running {
				w.wantSameKeys()
				for _, of := range []string{"of the active key", "of a key that has retired"} {
					p.WantVerdict(p.Client(), w.good[of], http.StatusOK)
				}
				// It has seen the Session go, and cannot know that it comes back with the right of its owner.
				p.WantVerdict(p.Client(), w.good["of a session"], http.StatusUnauthorized)
				end(p)
			}
			p = again(a, user, p)
			p.WantVerdict(p.Client(), between, http.StatusUnauthorized)
			w.wantSame(p)
			wantNoRefusal(t, p.Log.String())
		})
	}
}

func end(p *testoperator.Process) {
	p.Terminate()
	<-p.Ended
}

// again starts the operator at the address that is in the issuer's URL.
func again(a *testoperator.Administrator, user []byte, ended *testoperator.Process) *testoperator.Process {
	a.Helper()
	p := testoperator.Run(a, user, "--bind-address="+ended.HTTPS)
	p.HTTPS = ended.HTTPS
	p.WaitReady()
	return p
}

// TestIssuerRestoredBeforeItsKeys restores in the wrong order, so that the operator makes new keys, and then does what
// docs/backup.md says: it puts the Secrets of the backup in their place.
func TestIssuerRestoredBeforeItsKeys(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	user := a.User()
	p := testoperator.Run(a, user)
	p.WaitReady()
	w := newPast(a, p)
	backup := backedUp(a)
	wipe(a, backup)
	for _, object := range slices.Backward(backup) {
		if err := a.Create(t.Context(), asVelero(object)); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		if object.GetKind() == "TokenIssuer" {
			testoperator.Eventually(t, "new keys", func() error {
				return a.Get(t.Context(), client.ObjectKey{Namespace: a.Namespace, Name: "shop-refresh-keys"}, &corev1.Secret{})
			})
			w.WaitReady(w.issuer)
		}
	}
	if diff := cmp.Diff(w.keys, w.keyIDs()); diff == "" {
		t.Fatal("the keys are the same although the issuer came before them: this test tests nothing")
	}
	lost := sign(t, a.Secret(a.Namespace, "shop-signing-key"), "alice")
	p.WantVerdict(p.Client(), lost, http.StatusOK)

	for _, object := range backup {
		if object.GetKind() != "Secret" || object.GetName() == "shop-signing-key" {
			continue
		}
		saved := asVelero(object)
		document, err := json.Marshal(map[string]any{"data": saved.Object["data"]})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Patch(t.Context(), saved, client.RawPatch("application/merge-patch+json", document)); err != nil {
			t.Fatal(err)
		}
	}
	p.WantVerdict(p.Client(), lost, http.StatusUnauthorized)
	w.wantSameKeys()
	end(p)
	w.wantSame(again(a, user, p))
}
