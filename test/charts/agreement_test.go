package charts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/testenv"
)

// kustomized returns what config/default installs.
func kustomized(t *testing.T) rendered {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Fatal(testenv.ErrNoAssets)
	}
	kubectl := filepath.Join(assets, "kubectl")
	output, err := exec.Command(kubectl, "kustomize", filepath.Join(root, "config", "default")).Output()
	if err != nil {
		t.Fatalf("building config/default: %v", err)
	}
	return rendered{t, decode(t, string(output))}
}

const instanceLabel = "app.kubernetes.io/instance"

// TestChartAndKustomizationAgree compares everything about the Deployment, the Service and the budget except what makes
// a release a release: labels, the image, and the flags that only repeat the operator's defaults.
func TestChartAndKustomizationAgree(t *testing.T) {
	fromChart, fromConfig := render(t), kustomized(t)

	got, want := deploymentOf(t, fromChart), deploymentOf(t, fromConfig)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the Deployments differ (-config +chart):\n%s", diff)
	}

	gotBudget := one[policyv1.PodDisruptionBudget](fromChart, "PodDisruptionBudget", "")
	wantBudget := one[policyv1.PodDisruptionBudget](fromConfig, "PodDisruptionBudget", "")
	delete(gotBudget.Spec.Selector.MatchLabels, instanceLabel)
	gotBudget.Labels, wantBudget.Labels = nil, nil
	if diff := cmp.Diff(wantBudget, gotBudget); diff != "" {
		t.Errorf("the budgets differ (-config +chart):\n%s", diff)
	}

	gotService := one[corev1.Service](fromChart, "Service", "-webhook")
	wantService := one[corev1.Service](fromConfig, "Service", "-webhook")
	delete(gotService.Spec.Selector, instanceLabel)
	wantService.Spec.Type = corev1.ServiceTypeClusterIP // the API server's default
	gotService.Labels, wantService.Labels = nil, nil
	if diff := cmp.Diff(wantService, gotService); diff != "" {
		t.Errorf("the Services differ (-config +chart):\n%s", diff)
	}
}

// deploymentOf returns the Deployment without labels and image, and with the flags only that config/ has too.
func deploymentOf(t *testing.T, objects rendered) *appsv1.Deployment {
	t.Helper()
	deployment := one[appsv1.Deployment](objects, "Deployment", "-controller-manager")
	template := &deployment.Spec.Template
	apart := template.Spec.Affinity.PodAntiAffinity
	selectors := []*metav1.LabelSelector{
		deployment.Spec.Selector,
		apart.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.LabelSelector,
		template.Spec.TopologySpreadConstraints[0].LabelSelector,
	}
	for _, selector := range selectors {
		delete(selector.MatchLabels, instanceLabel)
		for name, value := range selector.MatchLabels {
			if template.Labels[name] != value {
				t.Errorf("a selector asks for %s=%s, and the pods have %q", name, value, template.Labels[name])
			}
		}
	}
	deployment.Labels, template.Labels = nil, nil
	container := &template.Spec.Containers[0]
	container.Image = ""
	container.Args = slices.DeleteFunc(container.Args, repeatsDefault(t))
	return deployment
}

// repeatsDefault tells whether a flag has the value that it has anyway, according to the operator's help.
func repeatsDefault(t *testing.T) func(string) bool {
	t.Helper()
	help, err := exec.Command(operator(t), "--help").Output()
	if err != nil {
		t.Fatalf("asking the operator for its flags: %v", err)
	}
	return func(argument string) bool {
		flag, value, _ := strings.Cut(argument, "=")
		line := regexp.MustCompile(`(?m)^\s+` + flag + ` .*$`).FindString(string(help))
		if line == "" {
			t.Errorf("the operator has no flag %s", flag)
		}
		return strings.HasSuffix(line, "(default "+value+")") || strings.HasSuffix(line, `(default "`+value+`")`)
	}
}

// operator builds the operator.
func operator(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "keyturn")
	build := exec.Command("go", "build", "-o", program, "./cmd/keyturn")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the operator: %v\n%s", err, output)
	}
	return program
}

// TestFlagsAreAccepted starts the operator with the flags of every set of values, and a mistake that it notices last.
func TestFlagsAreAccepted(t *testing.T) {
	program := operator(t)
	for name, values := range matrix(t) {
		container := one[appsv1.Deployment](render(t, "--values", values), "Deployment", "").Spec.Template.Spec.Containers[0]
		// In place of what is only in a pod: its namespace, and the folder of the audit log.
		arguments := slices.Concat(container.Args,
			[]string{"--tls-secret-namespace=any", "--leader-election-namespace=any", "--audit-log=-", "--kubeconfig=/nowhere"})
		output, err := exec.Command(program, arguments...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), "name a kubeconfig file with --kubeconfig") {
			t.Errorf("%s: with %v the operator ends with %v and says\n%s\nwant a complaint about nothing but the kubeconfig",
				name, arguments, err, output)
		}
	}
}

// TestPodsHaveTheTimeToEnd compares the grace period with what the operator does in it.
func TestPodsHaveTheTimeToEnd(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root, "cmd", "keyturn", "run.go"))
	if err != nil {
		t.Fatal(err)
	}
	written := regexp.MustCompile(`shutdownTimeout = ([0-9]+) \* time\.Second`).FindSubmatch(source)
	if written == nil {
		t.Fatal("run.go does not say any more how long the operator takes to end")
	}
	shutdown, err := time.ParseDuration(string(written[1]) + "s")
	if err != nil {
		t.Fatal(err)
	}
	need := max(shutdown, server.DefaultShutdownDelay+server.DefaultShutdownTimeout)
	for name, objects := range map[string]rendered{"chart": render(t), "config": kustomized(t)} {
		seconds := *one[appsv1.Deployment](objects, "Deployment", "").Spec.Template.Spec.TerminationGracePeriodSeconds
		if grace := time.Duration(seconds) * time.Second; grace <= need {
			t.Errorf("%s: a pod gets %s to end, and may need %s", name, grace, need)
		}
	}
	if _, err := helm(t, "template", chart, "--set", "terminationGracePeriodSeconds=20"); err == nil {
		t.Error("a grace period that cuts off open requests is accepted")
	}
}
