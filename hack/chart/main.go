// Command chart writes what the Helm chart takes from config/: the custom resources, and the rules of its roles. So
// there is one source of each, which is itself generated from the code.
//
//	go run ./hack/chart        # from the root of the clone
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

func main() {
	config := flag.String("config", "config", "the folder of the manifests")
	out := flag.String("out", filepath.Join("charts", "keyturn", "files"), "the folder of the chart's files")
	flag.Parse()
	if err := generate(*config, *out); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// generate reads everything before it writes anything, so that a mistake leaves no half of the chart changed.
func generate(config, out string) error {
	resources, err := customResources(filepath.Join(config, "crd", "bases"))
	if err != nil {
		return err
	}
	roles, err := readRoles(filepath.Join(config, "rbac"))
	if err != nil {
		return err
	}
	rules, err := splitRules(roles.manager, resources)
	if err != nil {
		return err
	}

	for folder, files := range map[string]map[string]any{
		"rbac": {
			"namespaced.yaml":          rules.namespaced,
			"cluster.yaml":             rules.cluster,
			"leader-election.yaml":     roles.leaderElection,
			"serving-certificate.yaml": roles.servingCertificate,
			"people.yaml":              roles.people,
		},
		"crds": resources.documents,
	} {
		if err := writeFolder(filepath.Join(out, folder), files); err != nil {
			return err
		}
	}
	return nil
}

// writeFolder makes a folder hold these files and no others: documents as they are, and other values as YAML.
func writeFolder(folder string, files map[string]any) error {
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("emptying %s: %w", folder, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // Part of the clone, for everybody to read.
		return fmt.Errorf("making %s: %w", folder, err)
	}
	for name, value := range files {
		document, verbatim := value.([]byte)
		if !verbatim {
			text, err := yaml.Marshal(value)
			if err != nil {
				return fmt.Errorf("encoding %s: %w", name, err)
			}
			document = bytes.Join([][]byte{[]byte("# Generated from config/rbac by `make chart`.\n"), text}, nil)
		}
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, document, 0o644); err != nil { //nolint:gosec // Part of the clone, for everybody to read.
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}
