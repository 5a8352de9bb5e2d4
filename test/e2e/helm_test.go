package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// What a release of this name is called in the cluster.
const (
	release    = "keyturn"
	deployment = "keyturn-controller-manager"
	service    = "keyturn-webhook"
	serviceURL = "https://" + service + "." + systemNamespace + ".svc"
	httpsPort  = "8443"
)

// helm runs Helm, and returns what it says.
func (s *suite) helm(arguments ...string) (string, error) {
	output, err := exec.Command(*helmProgram, arguments...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output), nil
}

// helmInstall installs the chart with no other values than the image.
func (s *suite) helmInstall(t *testing.T) {
	t.Helper()
	colon := strings.LastIndex(*operatorImage, ":")
	if colon < 0 {
		t.Fatalf("-operator-image: %q has no tag", *operatorImage)
	}
	if _, err := s.helm("install", release, *chartFolder, "--namespace", systemNamespace,
		"--set", "image.repository="+(*operatorImage)[:colon], "--set-string", "image.tag="+(*operatorImage)[colon+1:]); err != nil {
		t.Fatal(err)
	}
}
