package controllers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/testenv"
)

// errLost stands for an answer that never came, to a write that was carried out all the same.
var errLost = errors.New("the answer to a write was lost")

// Writes that fail, and writes that succeed without the writer hearing of it, cost time and nothing else.
func TestWritesFailAtRandom(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			w := newWorld(t)
			random := rand.New(rand.NewPCG(seed, seed))
			failed := 0
			healthy := w.reconciler.Client
			w.reconciler.Client = interceptWrites(withFields(w.WithWatch), func(_ string, _ client.Object, write func() error) error {
				switch random.IntN(6) {
				case 0:
					failed++
					return errStopped
				case 1:
					failed++
					return errors.Join(write(), errLost)
				}
				return write()
			})
			w.create("shop", func(i *v1alpha1.TokenIssuer) { i.Spec.Signing.Rotation.Period = duration(20 * time.Minute) })
			activations := []string{}
			for range 60 {
				_, _ = w.try("shop") // most fail, and that is the point
				w.clock.Step(5 * time.Minute)
				if active := w.activeKey("shop"); active != "" && !slices.Contains(activations, active) {
					activations = append(activations, active)
				}
			}
			w.reconciler.Client = healthy
			w.reconcile("shop")
			w.wantReady("shop")
			w.wantNoCondition("shop", v1alpha1.ConditionKeysLost)
			if failed < 20 || len(activations) < 5 {
				t.Errorf("%d failed writes and %d keys in five hours: nothing was shown", failed, len(activations))
			}
			// It is at rest, and another replica finds nothing to do.
			w.journal.take()
			before := w.ringSecret("shop").ResourceVersion
			if _, err := w.newReconciler(w.journal.record(w.cachedSince("shop"))).Reconcile(t.Context(), w.request("shop")); err != nil {
				t.Fatal(err)
			}
			if got := w.journal.take(); len(got) > 0 || w.ringSecret("shop").ResourceVersion != before {
				t.Errorf("another replica wrote %v, want nothing", got)
			}
		})
	}
}

// activeKey is the id of the key that signs and of which verifiers can know, or nothing while there is no ring. It fails
// the test if a key is mounted that is not published.
func (w *world) activeKey(name string) string {
	w.Helper()
	var ring, mounted corev1.Secret
	var config corev1.ConfigMap
	for object, suffix := range map[client.Object]string{&ring: "-keyring", &mounted: "-signing-key", &config: "-jwks"} {
		err := w.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name + suffix}, object)
		if client.IgnoreNotFound(err) != nil {
			w.Fatal(err)
		}
	}
	published := keyring.PublishedIDs([]byte(config.Data[v1alpha1.DataJWKS]))
	if kid := string(mounted.Data[v1alpha1.DataKeyID]); kid != "" && !slices.Contains(published, kid) {
		w.Fatalf("the mounted key %s is not among the published %v", kid, published)
	}
	if ring.Name == "" {
		return ""
	}
	decoded, err := keyring.Decode(ring.Data[v1alpha1.DataRing])
	if err != nil {
		w.Fatal(err)
	}
	return decoded.Active().ID
}

// cachedSince is a cached client that has heard of the issuer as it is now.
func (w *world) cachedSince(name string) client.WithWatch {
	w.Helper()
	cached := w.cachedClient()
	eventually(w, "a cache that is up to date", func() error {
		return cached.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &v1alpha1.TokenIssuer{})
	})
	return cached
}

// Without the right to write Secrets the old key goes on; what is overdue is said at once, and Ready turns once signing
// would break a promise.
func TestRightToWriteSecretsLost(t *testing.T) {
	w := newWorld(t)
	role := w.role("update", "create")
	w.reconciler.Client = withFields(w.as(role.Name))
	w.settled("shop")
	first := w.ring("shop").Active().ID

	w.grant(role, nil)
	w.clock.Step(period + time.Second)
	if _, err := w.try("shop"); !apierrors.IsForbidden(err) {
		t.Fatalf("error %v, want that writing the Secret is forbidden", err)
	}
	w.wantCondition("shop", v1alpha1.ConditionRotationOverdue, metav1.ConditionTrue, v1alpha1.ReasonRotationOverdue)
	w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	w.clock.Step(propagation)
	if _, err := w.try("shop"); !apierrors.IsForbidden(err) {
		t.Fatalf("error %v, want that writing the Secret is forbidden", err)
	}
	w.wantCondition("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRotationOverdue)
	if status := w.issuer("shop").Status; status.ActiveKeyID != first || len(status.Keys) != 2 {
		t.Errorf("status = %+v, want the keys that go on verifying", status)
	}

	w.grant(role, []string{"update", "create"})
	w.reconcile("shop")
	w.wantReady("shop")
	w.wantNoCondition("shop", v1alpha1.ConditionRotationOverdue)
	if w.ring("shop").Active().ID == first {
		t.Error("the rotation did not happen after all")
	}
}

// role is a user of the same name who may do what the reconciler does, and these verbs with Secrets.
func (w *world) role(verbs ...string) *rbacv1.ClusterRole {
	w.Helper()
	meta := metav1.ObjectMeta{Name: w.namespace}
	role := &rbacv1.ClusterRole{ObjectMeta: meta}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: meta.Name}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := w.Create(w.Context(), object); err != nil {
			w.Fatalf("creating %T %s: %v", object, meta.Name, err)
		}
	}
	w.grant(role, verbs)
	return role
}

func (w *world) as(user string) client.WithWatch {
	w.Helper()
	added, err := testenv.Environment(w).AddUser(envtest.User{Name: user}, nil)
	if err != nil {
		w.Fatalf("adding the user %s: %v", user, err)
	}
	c, err := client.NewWithWatch(added.Config(), client.Options{Scheme: testScheme})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// grant sets what the role may do with Secrets beside reading them, and waits until the API server acts on it.
func (w *world) grant(role *rbacv1.ClusterRole, verbs []string) {
	w.Helper()
	edit(w, role, func(role *rbacv1.ClusterRole) {
		role.Rules = []rbacv1.PolicyRule{
			{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"*"}},
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}},
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: append([]string{"get", "list", "watch"}, verbs...)},
		}
	})
	may := w.as(role.Name)
	eventually(w, "the role in force", func() error {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "probe-"}}
		err := may.Create(w.Context(), probe, client.DryRunAll)
		if forbidden := apierrors.IsForbidden(err); forbidden != (len(verbs) == 0) {
			return fmt.Errorf("creating a Secret: %w", errors.Join(err, errNotYet))
		}
		return nil
	})
}
