// Package charts tests the Helm chart: by what Helm renders of it, by what a real API server makes of that, and by
// running the operator with the rights and flags that a release gives it.
package charts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestMain(m *testing.M) { os.Exit(testoperator.Main(m)) }

const (
	// release and namespace are those of a chart that is rendered, and the ones that the documentation uses.
	release, namespace = "keyturn", "keyturn-system"
)

var (
	root  = filepath.Join("..", "..")
	chart = filepath.Join(root, "charts", "keyturn")
)

// helmProgram returns the path of Helm, which is built the first time that anybody asks for it.
var helmProgram = sync.OnceValues(func() (string, error) {
	if program := os.Getenv("KEYTURN_HELM"); program != "" {
		return program, nil
	}
	ask := exec.Command("make", "--silent", "helm")
	ask.Dir = root
	ask.Stderr = os.Stderr
	output, err := ask.Output()
	if err != nil {
		return "", fmt.Errorf("getting Helm with `make helm`: %w; or name one with KEYTURN_HELM", err)
	}
	return strings.TrimSpace(string(output)), nil
})

// helm runs Helm, and returns what it says on stdout.
func helm(t testing.TB, arguments ...string) (string, error) {
	t.Helper()
	program, err := helmProgram()
	if err != nil {
		t.Fatal(err)
	}
	readChart(t)
	command := exec.Command(program, arguments...)
	// Not the configuration, plugins and caches of whoever runs the tests.
	home := t.TempDir()
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home,
		"HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home,
	}
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w\n%s", strings.Join(arguments, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// readChart reads every file of the chart itself, because go test takes a result from its cache unless what the test
// has read is different, and it does not know what Helm reads.
func readChart(t testing.TB) {
	t.Helper()
	err := filepath.WalkDir(chart, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("reading the chart: %v", err)
	}
}

// matrix returns the files of values that the chart is tested with, by name.
func matrix(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "values", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found the values %v, error %v", files, err)
	}
	named := map[string]string{}
	for _, file := range files {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		named[strings.TrimSuffix(filepath.Base(file), ".yaml")] = file
	}
	return named
}

// rendered are the objects of a release.
type rendered struct {
	*testing.T
	objects []*unstructured.Unstructured
}

// render renders the chart, with the arguments of `helm template` for values.
func render(t *testing.T, arguments ...string) rendered {
	t.Helper()
	output, err := helm(t, append([]string{"template", release, chart, "--namespace", namespace}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	return rendered{t, decode(t, output)}
}

// decode reads the objects of a stream of YAML, and refuses a key that comes twice, of which others take the last.
func decode(t *testing.T, stream string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(stream)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("reading objects: %v", err)
		}
		object := map[string]any{}
		if err := yaml.UnmarshalStrict(document, &object); err != nil {
			t.Fatalf("reading an object: %v\n%s", err, document)
		}
		if len(object) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: object})
		}
	}
}

// all returns the objects of a kind.
func (r rendered) all(kind string) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, object := range r.objects {
		if object.GetKind() == kind {
			found = append(found, object)
		}
	}
	return found
}

// one returns the only object of a kind with a name that ends like this, as a typed object.
func one[T any](r rendered, kind, suffix string) *T {
	r.Helper()
	var found []*unstructured.Unstructured
	for _, object := range r.all(kind) {
		if strings.HasSuffix(object.GetName(), suffix) {
			found = append(found, object)
		}
	}
	if len(found) != 1 {
		r.Fatalf("there are %d objects %s …%s, want one", len(found), kind, suffix)
	}
	typed := new(T)
	converter := runtime.DefaultUnstructuredConverter
	if err := converter.FromUnstructuredWithValidation(found[0].Object, typed, true); err != nil {
		r.Fatalf("reading %s %s: %v", kind, found[0].GetName(), err)
	}
	return typed
}
