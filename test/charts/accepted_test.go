package charts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/testenv"
)

// TestRenderedObjectsAreAccepted applies every object of every set of values to a real API server, as Helm does, and
// creates a pod of the Deployment in a namespace that enforces the restricted Pod Security Standard.
func TestRenderedObjectsAreAccepted(t *testing.T) {
	server, err := client.New(testenv.Environment(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{namespace, "shop", "billing"} {
		restricted := map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: restricted}}
		if err := server.Create(t.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	for name, values := range matrix(t) {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--values", values)
			for _, object := range objects.objects {
				t.Run(object.GetKind()+"/"+object.GetName(), func(t *testing.T) {
					if of, foreign := foreignKinds[object.GetKind()]; foreign {
						checkForeign(t, object, of())
						return
					}
					accepted(t, server, object)
				})
			}
			template := one[appsv1.Deployment](objects, "Deployment", "-controller-manager").Spec.Template
			// Without its ServiceAccount and priority, whose objects nobody has made here.
			template.Spec.ServiceAccountName, template.Spec.PriorityClassName = "", ""
			pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
			pod.Namespace, pod.Name = namespace, "pod"
			if err := server.Create(t.Context(), pod, client.DryRunAll); err != nil {
				t.Errorf("the pod of the Deployment is refused: %v", err)
			}
		})
	}
}

// accepted applies an object for nothing. Server-side apply refuses fields that the API server does not know.
func accepted(t *testing.T, server client.Client, object *unstructured.Unstructured) {
	t.Helper()
	configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
	options := []client.ApplyOption{client.DryRunAll, client.ForceOwnership, client.FieldOwner("helm")}
	if err := server.Apply(t.Context(), configuration, options...); err != nil {
		t.Errorf("refused: %v", err)
	}
	labels := object.GetLabels()
	if labels["app.kubernetes.io/managed-by"] != "Helm" || labels["app.kubernetes.io/instance"] != release {
		t.Errorf("the labels %v do not say whose it is", labels)
	}
}

// TestForeignFieldsAreNoticed checks the check of kinds that the API server of the test does not know.
func TestForeignFieldsAreNoticed(t *testing.T) {
	monitor := render(t, "--set", "metrics.serviceMonitor.enabled=true").all("ServiceMonitor")[0]
	if problems := foreignProblems(monitor, foreignKinds["ServiceMonitor"]()); problems != "" {
		t.Errorf("a ServiceMonitor as it is has problems: %s", problems)
	}
	monitor.Object["spec"].(map[string]any)["endpoint"] = nil
	if problems := foreignProblems(monitor, foreignKinds["ServiceMonitor"]()); !strings.Contains(problems, "endpoint") {
		t.Errorf("a field that does not exist has the problems %q", problems)
	}
}

func checkForeign(t *testing.T, object *unstructured.Unstructured, into foreign) {
	t.Helper()
	if problems := foreignProblems(object, into); problems != "" {
		t.Error(problems)
	}
}

// foreignProblems reads the spec into a type with every field that the chart may write, and lets that check itself.
func foreignProblems(object *unstructured.Unstructured, into foreign) string {
	if err := readSpec(object, into); err != nil {
		return err.Error()
	}
	if got, want := object.GetAPIVersion(), into.apiVersion(); got != want {
		return "apiVersion " + got + ", want " + want
	}
	return into.problems()
}

// readSpec reads the spec of an object, and refuses a field that the type does not have.
func readSpec(object *unstructured.Unstructured, into any) error {
	document, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(document)))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// TestCustomResourcesAreThoseOfConfig checks that they are passed on to the last field, and kept or not.
func TestCustomResourcesAreThoseOfConfig(t *testing.T) {
	bases := filepath.Join(root, "config", "crd", "bases")
	files, err := os.ReadDir(bases)
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d custom resources, error %v", len(files), err)
	}
	want := map[string]any{}
	for _, file := range files {
		document, err := os.ReadFile(filepath.Join(bases, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		object := decode(t, string(document))[0]
		want[object.GetName()] = object.Object["spec"]
	}
	for setting, keep := range map[string]string{"crds.keep=true": "keep", "crds.keep=false": ""} {
		got := map[string]any{}
		for _, object := range render(t, "--set", setting).all("CustomResourceDefinition") {
			got[object.GetName()] = object.Object["spec"]
			if policy := object.GetAnnotations()["helm.sh/resource-policy"]; policy != keep {
				t.Errorf("with %s, %s has the policy %q, want %q", setting, object.GetName(), policy, keep)
			}
			if object.GetAnnotations()["controller-gen.kubebuilder.io/version"] == "" {
				t.Errorf("%s has lost its own annotations", object.GetName())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with %s, the custom resources differ from config/crd (-want +got):\n%s", setting, diff)
		}
	}
	if found := render(t, "--set", "crds.enabled=false").all("CustomResourceDefinition"); len(found) > 0 {
		t.Errorf("crds.enabled=false leaves %d", len(found))
	}
}
