// Package testenv starts the control plane that tests run against: a real kube-apiserver and etcd with Keyturn's custom
// resources installed, and nothing else, so no controllers, no scheduler and no garbage collection.
package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/keyturn/keyturn/internal/moduleroot"
)

// startTimeout bounds the start of kube-apiserver and of etcd, each. They take seconds; the bound is wide because a
// machine that compiles other packages meanwhile must not fail a test.
const startTimeout = 3 * time.Minute

// ErrNoAssets says that the programs of the control plane are not there.
var ErrNoAssets = errors.New("KUBEBUILDER_ASSETS is not set: run `make test`, which gets kube-apiserver and etcd, " +
	"or set it to the folder that `make assets` prints")

// exitInterrupted is the exit code after an interrupt, as shells have it: 128 and the number of SIGINT.
const exitInterrupted = 130

// Main is the body of a TestMain, as os.Exit(testenv.Main(m)): it runs the package's tests, stops the control plane that
// they started, and returns the exit code.
//
// An interrupt stops the control plane too, whose processes would otherwise go on running, and then calls cleanUps, for
// what else must not be left behind.
func Main(m *testing.M, cleanUps ...func()) int {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		signal.Stop(interrupted) // The next one ends this program at once.
		_ = stop()
		for _, cleanUp := range cleanUps {
			cleanUp()
		}
		os.Exit(exitInterrupted)
	}()
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: stopping the control plane, whose processes may go on running:", err)
		return max(code, 1)
	}
	return code
}

// Environment returns the package's control plane, started at the first call. Without one the test fails, because a
// test that did not run has not passed. Config connects as a member of system:masters, KubeConfig is the same as a
// file, AddUser makes users with fewer rights, and CRDs are the custom resources as the API server holds them.
//
// It starts inside a test rather than before all tests, because go test takes a result from its cache unless what the
// tests themselves read has changed: KUBEBUILDER_ASSETS, and the files of the custom resources.
func Environment(t testing.TB) *envtest.Environment {
	t.Helper()
	running.Lock()
	defer running.Unlock()
	if running.environment == nil && running.err == nil {
		running.environment, running.err = Start()
	}
	if running.err != nil {
		t.Fatal(running.err)
	}
	return running.environment
}

// running is the control plane of the test binary: not started, started, or the reason why it could not be.
var running struct {
	sync.Mutex
	environment *envtest.Environment
	err         error
}

func stop() error {
	running.Lock()
	defer running.Unlock()
	if running.environment == nil {
		return nil
	}
	return running.environment.Stop()
}

// Start starts a control plane with Keyturn's custom resources. The caller stops it with its Stop.
func Start() (*envtest.Environment, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, ErrNoAssets
	}
	root, err := moduleroot.Find()
	if err != nil {
		return nil, err
	}
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join(root, "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
		// Never the cluster of whoever runs the tests, whatever USE_EXISTING_CLUSTER says.
		UseExistingCluster:       ptr.To(false),
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
	if _, err := env.Start(); err != nil {
		return nil, errors.Join(
			fmt.Errorf("starting the control plane in KUBEBUILDER_ASSETS=%s (KUBEBUILDER_ATTACH_CONTROL_PLANE_OUTPUT=true shows what it says): %w",
				os.Getenv("KUBEBUILDER_ASSETS"), err),
			env.Stop())
	}
	return env, nil
}
