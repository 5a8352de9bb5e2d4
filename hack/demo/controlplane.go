package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// controlPlaneTimeout bounds the start of kube-apiserver and of etcd, each, and their end. They take seconds; a machine
// that is busy with something else takes longer.
const controlPlaneTimeout = time.Minute

// operatorUser is whom the operator connects as: the ServiceAccount of config/default, in the groups that Kubernetes puts
// every ServiceAccount into.
var operatorUser = envtest.User{
	Name:   "system:serviceaccount:keyturn-system:keyturn-controller-manager",
	Groups: []string{"system:serviceaccounts", "system:serviceaccounts:keyturn-system", "system:authenticated"},
}

// controlPlane is a real kube-apiserver and etcd with Keyturn's custom resources installed, and nothing else: no
// controllers, no scheduler, no kubelet.
type controlPlane struct {
	environment *envtest.Environment
	// client connects as a member of system:masters, as the kubeconfig of the story does.
	client client.Client
}

// startControlPlane starts it with the programs of the folder assets. On an error nothing is left running.
func startControlPlane(root, assets string) (*controlPlane, error) {
	environment := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		UseExistingCluster:       ptr.To(false), // whatever USE_EXISTING_CLUSTER says: never the cluster of whoever tries this
		ControlPlaneStartTimeout: controlPlaneTimeout,
		ControlPlaneStopTimeout:  controlPlaneTimeout,
	}
	config, err := environment.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the kube-apiserver and etcd of %s (KUBEBUILDER_ATTACH_CONTROL_PLANE_OUTPUT=true "+
			"shows what they say): %w", assets, err), environment.Stop())
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, errors.Join(err, environment.Stop())
	}
	connection, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the kube-apiserver just started: %w", err), environment.Stop())
	}
	return &controlPlane{environment: environment, client: connection}, nil
}

func (c *controlPlane) stop() error {
	if err := c.environment.Stop(); err != nil {
		return fmt.Errorf("stopping the kube-apiserver and etcd: %w; end them by hand", err)
	}
	return nil
}

// writeKubeconfig writes the file that kubectl uses in the story.
func (c *controlPlane) writeKubeconfig(path string) error {
	return writePrivate(path, c.environment.KubeConfig)
}

// addOperator makes the user that the operator connects as, and writes its kubeconfig. It gets the role that an
// installation binds to the operator's ServiceAccount, and no other, so that the story also shows that it is enough. The Lease for leader election is a right of its own: there is one replica here, and none is elected.
func (c *controlPlane) addOperator(ctx context.Context, root, path string) error {
	document, err := os.ReadFile(filepath.Join(root, "config", "rbac", "role.yaml")) //nolint:gosec // A file of the clone.
	if err != nil {
		return fmt.Errorf("reading the operator's role: %w", err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(document, role); err != nil {
		return fmt.Errorf("reading the operator's role: %w", err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser.Name}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := c.client.Create(ctx, object); err != nil {
			return fmt.Errorf("giving the operator its rights: %w", err)
		}
	}
	user, err := c.environment.AddUser(operatorUser, nil)
	if err != nil {
		return fmt.Errorf("making the operator's user: %w", err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return fmt.Errorf("making the operator's kubeconfig: %w", err)
	}
	return writePrivate(path, kubeconfig)
}

// writePrivate writes what nobody else may read.
func writePrivate(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
