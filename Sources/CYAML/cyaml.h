// libyaml: the parser that etcd's manifests and configuration files are read with.
#include <yaml.h>
