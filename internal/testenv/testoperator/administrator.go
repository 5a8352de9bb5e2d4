// Package testoperator builds the command and runs it against a real API server, as a user with the rights that the manifests
// give and no others.
package testoperator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/moduleroot"
	"github.com/keyturn/keyturn/internal/testenv"
)

// Main is the body of a TestMain, as os.Exit(testoperator.Main(m)): that of testenv, and it removes what was built.
func Main(m *testing.M) int {
	cleanUp := func() {
		killAll()
		if built.folder != "" {
			_ = os.RemoveAll(built.folder)
		}
	}
	defer cleanUp()
	return testenv.Main(m, cleanUp)
}

// deadline bounds every wait for something that happens within seconds on an idle machine.
const deadline = 2 * time.Minute

// built is the command, built once.
var built struct {
	once   sync.Once
	folder string
	err    error
}

// command returns the path of the operator, as `go build` makes it.
func command(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		built.folder, built.err = os.MkdirTemp("", "keyturn-") //nolint:usetesting // It outlives the test that comes first.
		if built.err != nil {
			return
		}
		var root string
		if root, built.err = moduleroot.Find(); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(built.folder, "keyturn"), "./cmd/keyturn")
		build.Dir = root
		if output, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("building the operator: %w\n%s", err, output)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.folder, "keyturn")
}

// Administrator is a client with all rights.
type Administrator struct {
	testing.TB
	client.Client
	// Namespace is the test's own.
	Namespace string
}

// NewAdministrator returns one for a test, with the package's control plane.
func NewAdministrator(t testing.TB) *Administrator {
	t.Helper()
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	c, err := client.New(testenv.Environment(t).Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	a := &Administrator{TB: t, Client: c}
	a.Namespace = a.NewNamespace()
	return a
}

// NewNamespace makes a namespace.
func (a *Administrator) NewNamespace() string {
	a.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	a.Make(namespace)
	return namespace.Name
}

// Make creates an object that nothing should be in the way of.
func (a *Administrator) Make(object client.Object) {
	a.Helper()
	if err := a.Create(a.Context(), object); err != nil {
		a.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
}

// NewIssuer creates a TokenIssuer with the defaults.
func (a *Administrator) NewIssuer(namespace, name string) *v1alpha1.TokenIssuer {
	a.Helper()
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://" + namespace + ".example/" + name, Audiences: []string{"shop-api"}, Signing: &v1alpha1.Signing{},
		},
	}
	a.Make(issuer)
	return issuer
}

// WaitReady waits until the issuer is ready.
func (a *Administrator) WaitReady(issuer *v1alpha1.TokenIssuer) {
	a.Helper()
	Eventually(a.TB, issuer.Name+" ready", func() error {
		if err := a.Get(a.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil {
			return err
		}
		for _, condition := range issuer.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status == metav1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", issuer.Status.Conditions)
	})
}

// Secret reads a Secret that must be there.
func (a *Administrator) Secret(namespace, name string) *corev1.Secret {
	a.Helper()
	secret := &corev1.Secret{}
	if err := a.Get(a.Context(), client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
		a.Fatalf("reading Secret %s: %v", name, err)
	}
	return secret
}

// Eventually polls until check returns nil, and fails the test with its last error at the deadline.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, deadline, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, errors.Join(fmt.Errorf("gave up: %w", err), last))
	}
}
