// Package manifests asks a real API server whether it takes what config/ installs.
package manifests

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// TestManifestsAreAccepted creates every object of config/, with unknown fields forbidden, and then a pod of each
// Deployment in the operator's namespace, which enforces the restricted Pod Security Standard.
func TestManifestsAreAccepted(t *testing.T) {
	plain, err := client.New(testenv.Environment(t).Config, client.Options{})
	if err != nil {
		t.Fatalf("making a client of the test's API server: %v", err)
	}
	server := client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	var pods []*corev1.Pod
	for _, object := range manifests(t) {
		t.Run(object.GetKind()+"/"+object.GetName(), func(t *testing.T) {
			options := []client.CreateOption{client.DryRunAll}
			namespace := object.GetKind() == "Namespace"
			if namespace {
				options = nil // The others are put into it, and with -count they find it there.
			}
			if err := server.Create(t.Context(), object, options...); err != nil && !(namespace && apierrors.IsAlreadyExists(err)) {
				t.Errorf("refused: %v", err)
			}
		})
		if object.GetKind() == "Deployment" {
			pods = append(pods, podOf(t, object))
		}
	}
	if len(pods) != 1 {
		t.Fatalf("config/ has %d Deployments, want one", len(pods))
	}
	if err := server.Create(t.Context(), pods[0].DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("the pod of the Deployment is refused: %v", err)
	}
	// The same pod with one right more shows that the namespace enforces anything.
	pods[0].Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr.To(true)
	if err := server.Create(t.Context(), pods[0], client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a pod that may escalate its privileges: got %v, want it forbidden", err)
	}
}

// podOf returns a pod of the Deployment, without its ServiceAccount, which the API server of the test does not manage.
func podOf(t *testing.T, object *unstructured.Unstructured) *corev1.Pod {
	t.Helper()
	var deployment appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &deployment); err != nil {
		t.Fatalf("reading the Deployment: %v", err)
	}
	template := deployment.Spec.Template
	template.Name, template.Namespace, template.Spec.ServiceAccountName = "manager", deployment.Namespace, ""
	return &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
}

// manifests returns the objects of config/, namespaces first, but for the custom resources, which testenv installs, and
// for samples and overlays.
func manifests(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var namespaces, others []*unstructured.Unstructured
	for _, folder := range []string{"manager", "rbac", "service"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "config", folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("found no manifests in config/%s (error: %v)", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "kustomization.yaml") {
				continue
			}
			for _, object := range read(t, file) {
				if object.GetKind() == "Namespace" {
					namespaces = append(namespaces, object)
				} else {
					others = append(others, object)
				}
			}
		}
	}
	return append(namespaces, others...)
}

// read returns the objects of a file.
func read(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	stream, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(stream, 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		objects = append(objects, object)
	}
}
