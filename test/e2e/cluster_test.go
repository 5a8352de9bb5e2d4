package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// The namespaces of the suite. The first is the one that the documentation installs to.
const (
	systemNamespace  = "keyturn-system"
	shopNamespace    = "keyturn-e2e-shop"
	gatewayNamespace = "keyturn-e2e-gateway"
	faultNamespace   = "keyturn-e2e-faults"
)

var namespaces = []string{systemNamespace, shopNamespace, gatewayNamespace, faultNamespace}

// labelSuite marks the namespaces that the suite has made, and may remove with all that is in them.
const labelSuite = "e2e.keyturn.dev/suite"

const (
	// short is for what takes a moment on a quiet machine, long for what has to be scheduled, started or drained.
	short = time.Minute
	long  = 4 * time.Minute
)

// suite is one run against one cluster.
type suite struct {
	kube kubernetes.Interface
	api  client.Client
	// propagation is how long a Secret takes to reach a pod on this cluster, at most.
	propagation time.Duration
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		t.Fatalf("finding the API server: %v; set KUBECONFIG", err)
	}
	config.Timeout, config.QPS, config.UserAgent = time.Minute, -1, "keyturn-e2e"
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	s := &suite{}
	if s.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if s.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatalf("connecting to the API server %s: %v", config.Host, err)
	}
	s.propagation = s.kubeletDelay(t)
	return s
}

// await asks again and again until check is content.
func await(t *testing.T, what string, timeout time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s for %s: %v", timeout, what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// makeNamespace makes a namespace that is held to a Pod Security Standard.
func (s *suite) makeNamespace(t *testing.T, name, podSecurity string) {
	t.Helper()
	s.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		labelSuite: "true", "pod-security.kubernetes.io/enforce": podSecurity,
	}}})
	await(t, "the default ServiceAccount in "+name, short, func(ctx context.Context) error {
		_, err := s.kube.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (s *suite) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := s.api.Create(t.Context(), object); err != nil {
		t.Fatalf("creating %T %s/%s: %v", object, object.GetNamespace(), object.GetName(), err)
	}
}

// get reads an object by the namespace and name that it has.
func (s *suite) get(t *testing.T, object client.Object) {
	t.Helper()
	if err := s.api.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatalf("reading %T %s/%s: %v", object, object.GetNamespace(), object.GetName(), err)
	}
}
