package charts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestMistakesInValues checks that Helm refuses them, and names the value.
func TestMistakesInValues(t *testing.T) {
	for setting, want := range map[string][]string{
		"replicaCount=3":                                            {"replicaCount", "not allowed"},
		"image.tags=v1":                                             {"image", "tags"},
		"metrics.serviceMonitor.enable=true":                        {"serviceMonitor", "enable"},
		"tls.certManager.issuerRef.nam=ca":                          {"issuerRef", "nam"},
		"replicas=0":                                                {"replicas"},
		"replicas=two":                                              {"replicas"},
		"logging.level=warn":                                        {"logging", "level"},
		"image.digest=sha256:abc":                                   {"digest"},
		"auditLog=audit.log":                                        {"auditLog"},
		"leaderElection.leaseDuration=15":                           {"leaseDuration"},
		"trustedProxies={everybody}":                                {"trustedProxies"},
		"watchNamespaces={Shop}":                                    {"watchNamespaces"},
		"watchNamespaces=shop":                                      {"watchNamespaces"},
		"extraArgs={-v}":                                            {"extraArgs"},
		"publicEndpoints={verify}":                                  {"publicEndpoints"},
		"podDisruptionBudget.maxUnavailable=0":                      {"maxUnavailable"},
		"podDisruptionBudget.maxUnavailable=100%":                   {"maxUnavailable"},
		"service.type=ExternalName":                                 {"service", "type"},
		"ingress.enabled=true":                                      {"ingress.hosts is required"},
		"httpRoute.enabled=true":                                    {"httpRoute.parentRefs is required"},
		"tls.certManager.enabled=true":                              {"tls.certManager.issuerRef.name is required"},
		"tls.secretName=a,tls.certManager.enabled=true":             {"exclude each other"},
		"serviceAccount.create=false":                               {"serviceAccount.name is required"},
		"metrics.enabled=false,metrics.serviceMonitor.enabled=true": {"needs metrics.enabled"},
		"metrics.prometheusRule.enabled=true,metrics.prometheusRule.disabled={KeyturnTypo}": {"there is no alert KeyturnTypo"},
	} {
		t.Run(setting, func(t *testing.T) {
			_, err := helm(t, "template", release, chart, "--namespace", namespace, "--set", setting)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
}

// TestEveryValueHasASchemaAndAComment checks that the schema has the values of values.yaml and no others, on every
// level that is not free, and that each value is explained.
func TestEveryValueHasASchemaAndAComment(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(document, &values); err != nil {
		t.Fatal(err)
	}
	schemaDocument, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(schemaDocument, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema["properties"].(map[string]any), "global") // Every parent chart passes it to all its parts.
	compareWithSchema(t, "", values, schema)

	lines := strings.Split(string(document), "\n")
	key := regexp.MustCompile(`^( *)([A-Za-z]+):(.*)$`)
	for i, line := range lines {
		match := key.FindStringSubmatch(line)
		if len(match) == 0 || slices.Contains(explainedTogether, match[2]) {
			continue
		}
		group := match[3] == "" // Its values are explained, each by itself.
		if above := strings.TrimSpace(lines[i-1]); !group && !strings.HasPrefix(above, "#") {
			t.Errorf("line %d of values.yaml, %s, has no comment above it", i+1, match[2])
		}
	}
}

// explainedTogether are values whose comment is above the one before, or above what they are part of.
var explainedTogether = []string{
	"extraVolumeMounts", "renewBefore", "scrapeTimeout", "podLabels", "tolerations", "topologySpreadConstraints",
	"cpu", "memory",
}

func compareWithSchema(t *testing.T, path string, values, schema map[string]any) {
	t.Helper()
	properties, fixed := schema["properties"].(map[string]any)
	if !fixed || schema["additionalProperties"] != false {
		return // Free, such as labels.
	}
	var inValues, inSchema []string
	for name := range values {
		inValues = append(inValues, name)
	}
	for name := range properties {
		if path != ".resources" || values[name] != nil { // A pod's resources may have claims; there is no default.
			inSchema = append(inSchema, name)
		}
	}
	slices.Sort(inValues)
	slices.Sort(inSchema)
	if diff := cmp.Diff(inSchema, inValues); diff != "" {
		t.Errorf("the values %s differ (-schema +values.yaml):\n%s", path, diff)
	}
	for name, value := range values {
		below, object := value.(map[string]any)
		of, known := properties[name].(map[string]any)
		if object && known {
			if of["properties"] != nil && of["additionalProperties"] != false {
				t.Errorf("%s.%s lets typos through", path, name)
			}
			compareWithSchema(t, path+"."+name, below, of)
		}
	}
}
