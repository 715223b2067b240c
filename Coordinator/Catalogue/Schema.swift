import FleetSQLite

/// The catalogue's schema. Times are INTEGER milliseconds since 1970 in UTC; JSON columns hold the Codable types of
/// the protocol; digests are BLOBs, or hexadecimal text where people read them.
enum Schema {
    static let migrations = [
        Migration("inventory", inventory), Migration("jobs", jobs), Migration("snapshots", snapshots),
        Migration("audit", audit), Migration("foreign-snapshots", foreignSnapshots),
        Migration("retention", retention), Migration("member-restores", memberRestores),
        Migration("drills", drills),
        Migration("undo", undo),
        Migration("replacements", replacements),
        Migration("approvals", approvals),
        Migration("policies", policies),
        Migration("roles", roles),
        Migration("history", history),
        Migration("alerts", alerts),
        Migration("authorities", authorities),
        Migration("programs", programs),
        Migration("bundles", bundles),
        Migration("accepted-revisions", acceptedRevisions),
        Migration("removed-clusters", removedClusters),
        Migration("alerts-noticed", alertsNoticed),
        Migration("ends-of-jobs", endsOfJobs),
        Migration("decryption", decryption),
        Migration("standing-drills", standingDrills),
        Migration("newest-drills", newestDrills),
        Migration("alert-levels", alertLevels),
        Migration("alerts-by-matter", alertsByMatter),
        Migration("decryption-keys", decryptionKeys),
    ]

    private static let inventory = """
        CREATE TABLE settings (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE clusters (
            name TEXT PRIMARY KEY,
            created INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE etcd_identities (
            cluster TEXT NOT NULL REFERENCES clusters (name),
            id TEXT NOT NULL,
            first_seen INTEGER NOT NULL,
            snapshot TEXT NOT NULL,
            PRIMARY KEY (cluster, id)
        ) STRICT;
        CREATE INDEX etcd_identities_id ON etcd_identities (id);

        -- What was found on a host; names are unique in their cluster only.
        CREATE TABLE nodes (
            cluster TEXT NOT NULL REFERENCES clusters (name),
            name TEXT NOT NULL,
            instance TEXT,
            discovery_error TEXT,
            discovered INTEGER,
            PRIMARY KEY (cluster, name)
        ) STRICT;

        -- counter: the highest that was ever put into a job for the agent, or that the agent told of. It is raised in
        -- the transaction that makes the job, before anything is signed.
        CREATE TABLE agents (
            cluster TEXT NOT NULL,
            node TEXT NOT NULL,
            enrolled INTEGER NOT NULL,
            version TEXT,
            last_seen INTEGER,
            counter INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (cluster, node),
            FOREIGN KEY (cluster, node) REFERENCES nodes (cluster, name)
        ) STRICT;

        CREATE TABLE operators (
            name TEXT PRIMARY KEY,
            created INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE certificates (
            fingerprint TEXT PRIMARY KEY,
            serial TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('agent', 'operator')),
            cluster TEXT,
            node TEXT,
            operator TEXT REFERENCES operators (name),
            issued INTEGER NOT NULL,
            not_after INTEGER NOT NULL,
            revoked INTEGER,
            FOREIGN KEY (cluster, node) REFERENCES agents (cluster, node),
            CHECK ((role = 'agent') = (cluster IS NOT NULL AND node IS NOT NULL)),
            CHECK ((role = 'operator') = (operator IS NOT NULL))
        ) STRICT;
        CREATE INDEX certificates_agent ON certificates (cluster, node, issued);
        CREATE INDEX certificates_operator ON certificates (operator, issued);

        -- hash: SHA-256 of the secret, which itself is stored nowhere.
        CREATE TABLE join_tokens (
            hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
            role TEXT NOT NULL CHECK (role IN ('agent', 'operator')),
            cluster TEXT REFERENCES clusters (name),
            name TEXT,
            created INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            expires INTEGER NOT NULL,
            used INTEGER,
            CHECK ((role = 'agent') = (cluster IS NOT NULL)),
            CHECK ((role = 'operator') = (name IS NOT NULL))
        ) STRICT;
        """

    private static let jobs = """
        CREATE TABLE jobs (
            id TEXT PRIMARY KEY,
            cluster TEXT NOT NULL,
            node TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('backup', 'restore')),
            snapshot TEXT NOT NULL,
            dry_run INTEGER NOT NULL,
            operation TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('queued', 'delivered', 'running', 'succeeded', 'failed', 'rolled-back',
                'stuck', 'refused', 'expired', 'lost')),
            requested_by TEXT NOT NULL,
            created INTEGER NOT NULL,
            started INTEGER,
            finished INTEGER,
            last_heard INTEGER,
            outcome TEXT,
            error TEXT,
            agents_word INTEGER NOT NULL DEFAULT 0,
            FOREIGN KEY (cluster, node) REFERENCES agents (cluster, node),
            CHECK ((finished IS NULL) = (state IN ('queued', 'delivered', 'running')))
        ) STRICT;
        CREATE INDEX jobs_cluster ON jobs (cluster, created);
        CREATE UNIQUE INDEX jobs_one_open ON jobs (cluster) WHERE finished IS NULL;

        CREATE TABLE job_attempts (
            job TEXT NOT NULL REFERENCES jobs (id),
            number INTEGER NOT NULL,
            cluster TEXT NOT NULL,
            node TEXT NOT NULL,
            counter INTEGER NOT NULL,
            issued INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            delivered INTEGER,
            PRIMARY KEY (job, number),
            UNIQUE (cluster, node, counter)
        ) STRICT;

        CREATE TABLE job_events (
            job TEXT NOT NULL REFERENCES jobs (id),
            sequence INTEGER NOT NULL,
            time INTEGER NOT NULL,
            received INTEGER NOT NULL,
            event TEXT NOT NULL,
            PRIMARY KEY (job, sequence)
        ) STRICT;

        CREATE TABLE restores (
            job TEXT PRIMARY KEY REFERENCES jobs (id),
            cluster TEXT NOT NULL REFERENCES clusters (name),
            snapshot TEXT NOT NULL,
            dry_run INTEGER NOT NULL,
            plan TEXT
        ) STRICT;

        CREATE TABLE restore_steps (
            restore TEXT NOT NULL REFERENCES restores (job),
            node TEXT NOT NULL,
            position INTEGER NOT NULL,
            name TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('started', 'done', 'failed')),
            started INTEGER,
            ended INTEGER,
            detail TEXT,
            error TEXT,
            PRIMARY KEY (restore, node, name)
        ) STRICT;
        """

    // No foreign key to jobs or nodes: a catalogue that is rebuilt from the store has neither.
    private static let snapshots = """
        CREATE TABLE snapshots (
            id TEXT PRIMARY KEY,
            cluster TEXT NOT NULL REFERENCES clusters (name),
            node TEXT NOT NULL,
            job TEXT NOT NULL,
            saved INTEGER NOT NULL,
            stored INTEGER NOT NULL,
            size INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            record TEXT NOT NULL,
            condition TEXT NOT NULL CHECK (condition IN ('verified', 'missing', 'damaged')),
            problem TEXT
        ) STRICT;
        CREATE INDEX snapshots_cluster ON snapshots (cluster, saved);
        CREATE INDEX snapshots_job ON snapshots (job);
        """

    // A CHECK can't be changed in place.
    private static let foreignSnapshots = """
        CREATE TABLE snapshots_new (
            id TEXT PRIMARY KEY,
            cluster TEXT NOT NULL REFERENCES clusters (name),
            node TEXT NOT NULL,
            job TEXT NOT NULL,
            saved INTEGER NOT NULL,
            stored INTEGER NOT NULL,
            size INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            record TEXT NOT NULL,
            condition TEXT NOT NULL CHECK (condition IN ('verified', 'missing', 'damaged', 'foreign')),
            problem TEXT
        ) STRICT;
        INSERT INTO snapshots_new SELECT id, cluster, node, job, saved, stored, size, sha256, record, condition, problem
            FROM snapshots;
        DROP TABLE snapshots;
        ALTER TABLE snapshots_new RENAME TO snapshots;
        CREATE INDEX snapshots_cluster ON snapshots (cluster, saved);
        CREATE INDEX snapshots_job ON snapshots (job);
        """

    private static let retention = """
        ALTER TABLE clusters ADD COLUMN retention TEXT;
        ALTER TABLE snapshots ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
        """

    // A restore of several members: one row, a job for each member, and the records that its state is folded from. Its
    // members' jobs are open at the same time, so what may be open once in a cluster is the restore.
    private static let memberRestores = """
        CREATE TABLE member_restores (
            id TEXT PRIMARY KEY,
            cluster TEXT NOT NULL REFERENCES clusters (name),
            snapshot TEXT NOT NULL,
            dry_run INTEGER NOT NULL,
            plan TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'rolled-back', 'stuck')),
            requested_by TEXT NOT NULL,
            created INTEGER NOT NULL,
            finished INTEGER,
            error TEXT,
            CHECK ((finished IS NULL) = (state = 'running'))
        ) STRICT;
        CREATE INDEX member_restores_cluster ON member_restores (cluster, created);
        CREATE UNIQUE INDEX member_restores_one_open ON member_restores (cluster) WHERE finished IS NULL;

        CREATE TABLE restore_records (
            restore TEXT NOT NULL REFERENCES member_restores (id),
            sequence INTEGER NOT NULL,
            time INTEGER NOT NULL,
            record TEXT NOT NULL,
            PRIMARY KEY (restore, sequence)
        ) STRICT;

        ALTER TABLE jobs ADD COLUMN restore TEXT REFERENCES member_restores (id);
        CREATE INDEX jobs_restore ON jobs (restore) WHERE restore IS NOT NULL;
        DROP INDEX jobs_one_open;
        CREATE UNIQUE INDEX jobs_one_open ON jobs (cluster) WHERE finished IS NULL AND restore IS NULL;
        CREATE UNIQUE INDEX jobs_one_of_a_member ON jobs (restore, node) WHERE restore IS NOT NULL;

        -- As operators know them: a restore of several members is one.
        CREATE VIEW whole_jobs AS
            SELECT id, cluster, 'restore' AS kind, state, created, finished, 1 AS has_members FROM member_restores
            UNION ALL
            SELECT id, cluster, kind, state, created, finished, 0 FROM jobs WHERE restore IS NULL;
        """

    // A CHECK can't be changed in place, and this one is gone for good: what kinds there are, the operations' own type
    // says. Rows that refer to jobs do so again when those are back, which SQLite looks at when the transaction ends.
    private static let drills = """
        PRAGMA defer_foreign_keys = ON;
        CREATE TABLE jobs_kept AS SELECT id, cluster, node, kind, snapshot, dry_run, operation, state, requested_by,
            created, started, finished, last_heard, outcome, error, agents_word, restore FROM jobs;
        DROP TABLE jobs;
        CREATE TABLE jobs (
            id TEXT PRIMARY KEY,
            cluster TEXT NOT NULL,
            node TEXT NOT NULL,
            kind TEXT NOT NULL,
            snapshot TEXT NOT NULL,
            dry_run INTEGER NOT NULL,
            operation TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('queued', 'delivered', 'running', 'succeeded', 'failed', 'rolled-back',
                'stuck', 'refused', 'expired', 'lost')),
            requested_by TEXT NOT NULL,
            created INTEGER NOT NULL,
            started INTEGER,
            finished INTEGER,
            last_heard INTEGER,
            outcome TEXT,
            error TEXT,
            agents_word INTEGER NOT NULL DEFAULT 0,
            restore TEXT REFERENCES member_restores (id),
            FOREIGN KEY (cluster, node) REFERENCES agents (cluster, node),
            CHECK ((finished IS NULL) = (state IN ('queued', 'delivered', 'running')))
        ) STRICT;
        INSERT INTO jobs SELECT * FROM jobs_kept;
        DROP TABLE jobs_kept;
        CREATE INDEX jobs_cluster ON jobs (cluster, created);
        CREATE UNIQUE INDEX jobs_one_open ON jobs (cluster) WHERE finished IS NULL AND restore IS NULL;
        CREATE INDEX jobs_restore ON jobs (restore) WHERE restore IS NOT NULL;
        CREATE UNIQUE INDEX jobs_one_of_a_member ON jobs (restore, node) WHERE restore IS NOT NULL;

        ALTER TABLE nodes ADD COLUMN drill_versions TEXT;

        -- expected: what the coordinator had read itself, before the job was sent. cluster: the snapshot's; the job's own
        -- is its agent's. The last columns are NULL where nothing was learned of the snapshot.
        CREATE TABLE drills (
            job TEXT PRIMARY KEY REFERENCES jobs (id),
            snapshot TEXT NOT NULL,
            cluster TEXT NOT NULL,
            expected TEXT NOT NULL,
            finished INTEGER,
            verdict TEXT CHECK (verdict IN ('proven', 'failed')),
            problem TEXT,
            report TEXT
        ) STRICT;
        CREATE INDEX drills_snapshot ON drills (snapshot, finished);
        CREATE INDEX drills_cluster ON drills (cluster, finished);
        """

    // An undo is a restore with another preparation, and a cleanup needs the same care of its node: both are rows of that
    // kind, and what they are about tells them apart.
    private static let undo = """
        ALTER TABLE jobs ADD COLUMN undoes TEXT;
        ALTER TABLE jobs ADD COLUMN cleans TEXT;
        ALTER TABLE member_restores ADD COLUMN undoes TEXT;
        ALTER TABLE member_restores ADD COLUMN cleans TEXT;
        CREATE INDEX jobs_cleans ON jobs (cleans) WHERE cleans IS NOT NULL;
        DROP VIEW whole_jobs;
        CREATE VIEW whole_jobs AS
            SELECT id, cluster, CASE WHEN undoes IS NOT NULL THEN 'undo' WHEN cleans IS NOT NULL THEN 'cleanup'
                ELSE 'restore' END AS kind, state, created, finished, 1 AS has_members FROM member_restores
            UNION ALL
            SELECT id, cluster, CASE WHEN undoes IS NOT NULL THEN 'undo' WHEN cleans IS NOT NULL THEN 'cleanup'
                ELSE kind END, state, created, finished, 0 FROM jobs WHERE restore IS NULL;
        """

    // The replacement of a member: one row, the records that its state is folded from, and a job for each act. Some of those
    // are open at the same time, so what may be open once in a cluster is the replacement.
    private static let replacements = """
        CREATE TABLE replacements (
            id TEXT PRIMARY KEY,
            cluster TEXT NOT NULL REFERENCES clusters (name),
            node TEXT NOT NULL,
            dry_run INTEGER NOT NULL,
            terms TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'stuck')),
            requested_by TEXT NOT NULL,
            created INTEGER NOT NULL,
            finished INTEGER,
            error TEXT,
            CHECK ((finished IS NULL) = (state = 'running'))
        ) STRICT;
        CREATE INDEX replacements_cluster ON replacements (cluster, created);
        CREATE UNIQUE INDEX replacements_one_open ON replacements (cluster) WHERE finished IS NULL;

        CREATE TABLE replacement_records (
            replacement TEXT NOT NULL REFERENCES replacements (id),
            sequence INTEGER NOT NULL,
            time INTEGER NOT NULL,
            record TEXT NOT NULL,
            PRIMARY KEY (replacement, sequence)
        ) STRICT;

        ALTER TABLE jobs ADD COLUMN replacement TEXT REFERENCES replacements (id);
        CREATE INDEX jobs_replacement ON jobs (replacement) WHERE replacement IS NOT NULL;
        DROP INDEX jobs_one_open;
        CREATE UNIQUE INDEX jobs_one_open ON jobs (cluster)
            WHERE finished IS NULL AND restore IS NULL AND replacement IS NULL;
        DROP VIEW whole_jobs;
        CREATE VIEW whole_jobs AS
            SELECT id, cluster, CASE WHEN undoes IS NOT NULL THEN 'undo' WHEN cleans IS NOT NULL THEN 'cleanup'
                ELSE 'restore' END AS kind, state, created, finished, 1 AS has_members FROM member_restores
            UNION ALL
            SELECT id, cluster, 'replace', state, created, finished, 1 FROM replacements
            UNION ALL
            SELECT id, cluster, CASE WHEN undoes IS NOT NULL THEN 'undo' WHEN cleans IS NOT NULL THEN 'cleanup'
                ELSE kind END, state, created, finished, 0 FROM jobs WHERE restore IS NULL AND replacement IS NULL;
        """

    // The statement is what was signed, the envelope and the certificate prove it.
    private static let approvals = """
        ALTER TABLE clusters ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;
        CREATE TABLE approvals (
            id INTEGER PRIMARY KEY,
            plan TEXT NOT NULL,
            approver TEXT NOT NULL,
            certificate TEXT NOT NULL,
            given INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            statement TEXT NOT NULL,
            envelope TEXT NOT NULL,
            used_by TEXT
        ) STRICT;
        CREATE INDEX approvals_plan ON approvals (plan);
        CREATE INDEX approvals_unused ON approvals (expires) WHERE used_by IS NULL;
        """

    // Of each task only the last run is kept: jobs and the audit log are its history. The job of a run is no foreign key,
    // since a task of a cluster may be done by an agent of another.
    private static let policies = """
        ALTER TABLE clusters ADD COLUMN labels TEXT;
        CREATE TABLE policies (
            name TEXT PRIMARY KEY,
            position INTEGER NOT NULL,
            policy TEXT NOT NULL,
            since INTEGER NOT NULL
        ) STRICT;
        -- schedule: by which it is due, and in which zone, since then; NULL while no policy demands it.
        CREATE TABLE scheduled_tasks (
            cluster TEXT NOT NULL REFERENCES clusters (name),
            kind TEXT NOT NULL,
            schedule TEXT,
            since INTEGER NOT NULL,
            due INTEGER,
            attempts INTEGER NOT NULL DEFAULT 0,
            job TEXT,
            PRIMARY KEY (cluster, kind)
        ) STRICT;
        """

    // Whoever was let in before there were roles could do everything: a role takes nothing from them unasked. Those whose
    // token nobody has used yet are operators from now on.
    private static let roles = """
        ALTER TABLE operators ADD COLUMN role TEXT NOT NULL DEFAULT 'admin'
            CHECK (role IN ('viewer', 'operator', 'restorer', 'admin'));
        ALTER TABLE operators ADD COLUMN clusters TEXT NOT NULL DEFAULT '{"clusters":[],"labels":{}}';
        INSERT INTO operators (name, created) SELECT name, min(created) FROM join_tokens
            WHERE role = 'operator' AND used IS NULL AND name NOT IN (SELECT name FROM operators)
                AND expires > CAST(strftime('%s', 'now') AS INTEGER) * 1000 GROUP BY name;
        """

    // What is asked of every cluster, or of every snapshot, every few seconds, must not walk through years of jobs.
    private static let history = """
        CREATE INDEX jobs_restores ON jobs (cluster, created) WHERE kind = 'restore';
        CREATE INDEX jobs_snapshot ON jobs (snapshot);
        CREATE INDEX jobs_ends ON jobs (kind, undoes, cleans, state, finished, restore, replacement)
            WHERE finished IS NOT NULL AND restore IS NULL AND replacement IS NULL;
        CREATE INDEX snapshots_condition ON snapshots (cluster, condition, saved);
        """

    // By whose fingerprint; NULL: of the first authority, before there could be another.
    private static let authorities = "ALTER TABLE certificates ADD COLUMN authority TEXT;"

    // Alerts: what people were told of and is not over. A route has a webhook's whole address and the secret that signs for it;
    // place is what may be shown of that.
    private static let alerts = """
        CREATE TABLE alert_targets (
            name TEXT PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('webhook', 'command')),
            place TEXT NOT NULL,
            route TEXT NOT NULL,
            created INTEGER NOT NULL,
            delivered INTEGER,
            problem TEXT,
            problem_since INTEGER
        ) STRICT;
        CREATE TABLE alerts (
            key TEXT PRIMARY KEY,
            concern TEXT NOT NULL,
            since INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE alert_messages (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL,
            target TEXT NOT NULL REFERENCES alert_targets (name),
            body TEXT NOT NULL,
            created INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            next INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX alert_messages_target ON alert_messages (target, number);
        """

    // Which program an agent runs, as it said last.
    private static let programs = "ALTER TABLE nodes ADD COLUMN program TEXT;"

    // The newest configuration of each node, by its name in the store; NULL where the next is to come whatever it is. No
    // foreign key to nodes, as with snapshots. Which snapshots have which stands in their records.
    private static let bundles = """
        ALTER TABLE clusters ADD COLUMN keeps_configuration INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE nodes ADD COLUMN certificates TEXT;
        ALTER TABLE nodes ADD COLUMN certificates_told TEXT;
        CREATE TABLE node_bundles (
            cluster TEXT NOT NULL REFERENCES clusters (name),
            node TEXT NOT NULL,
            bundle TEXT,
            collected INTEGER,
            confirmed INTEGER,
            files INTEGER,
            bytes INTEGER,
            left_out INTEGER,
            problem TEXT,
            PRIMARY KEY (cluster, node)
        ) STRICT;
        """

    // When somebody has said that an etcd whose revision had gone back is right.
    private static let acceptedRevisions = """
        ALTER TABLE etcd_identities ADD COLUMN accepted INTEGER;
        """

    // The rows of a cluster and of its agents stay when it is removed: its jobs refer to them, and an agent's counter may never
    // begin anew. removed: when that was last, also where the name was added again: what happened before is not the new one's.
    private static let removedClusters = """
        ALTER TABLE clusters ADD COLUMN present INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE clusters ADD COLUMN removed INTEGER;
        ALTER TABLE agents ADD COLUMN present INTEGER NOT NULL DEFAULT 1;
        """

    // What nobody was told of yet, by when it was first seen.
    private static let alertsNoticed = """
        CREATE TABLE alerts_noticed (
            key TEXT PRIMARY KEY,
            concern TEXT NOT NULL,
            since INTEGER NOT NULL
        ) STRICT;
        """

    // Whether an encryption-at-rest configuration is in it; NULL: it came before that was looked at.
    private static let decryption = """
        ALTER TABLE node_bundles ADD COLUMN decrypts INTEGER;
        """

    // Dry runs are not counted.
    private static let endsOfJobs = """
        DROP INDEX jobs_ends;
        CREATE INDEX jobs_ends ON jobs (kind, undoes, cleans, state, finished, restore, replacement)
            WHERE finished IS NOT NULL AND restore IS NULL AND replacement IS NULL AND NOT dry_run;
        """

    // saved: when the snapshot was, which may be gone by now. of_backup: it was verified, and not made to be safe before a restore.
    // settled: a drill that failed, and one of a snapshot that is no older was proven since. Of what is gone already only is known
    // that it was saved before it was drilled.
    private static let standingDrills = """
        ALTER TABLE drills ADD COLUMN saved INTEGER;
        ALTER TABLE drills ADD COLUMN of_backup INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE drills ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
        UPDATE drills SET saved = coalesce((SELECT saved FROM snapshots s WHERE s.id = drills.snapshot),
            (SELECT created FROM jobs j WHERE j.id = drills.job));
        UPDATE drills SET of_backup = 0 WHERE EXISTS (SELECT 1 FROM snapshots s WHERE s.id = drills.snapshot
            AND (s.condition = 'foreign' OR json_extract(s.record, '$.beforeRestore') IS NOT NULL));
        UPDATE drills SET settled = 1 WHERE verdict = 'failed' AND EXISTS (SELECT 1 FROM drills p
            WHERE p.cluster = drills.cluster AND p.verdict = 'proven' AND p.of_backup AND p.finished >= drills.finished
                AND p.saved >= drills.saved);
        CREATE INDEX drills_standing ON drills (cluster, finished) WHERE verdict = 'failed' AND of_backup AND NOT settled;
        """

    // When the job was made: what is asked for the newest must not walk through all that there ever were.
    private static let newestDrills = """
        ALTER TABLE drills ADD COLUMN created INTEGER;
        UPDATE drills SET created = (SELECT created FROM jobs j WHERE j.id = drills.job);
        CREATE INDEX drills_newest ON drills (cluster, created, job);
        """

    // What people were told of names the matter and how bad it is apart: certificates of a node by the day of their end, which
    // stood in the text alone; snapshots that can't be used by nothing else; policies by their name. The keys stay: people know
    // what stands by them. What can't be read so is over, and told anew.
    private static let alertLevels = """
        UPDATE alerts SET concern = json_set(json_remove(concern, '$.subject'), '$.level',
                CAST(json_extract(concern, '$.subject') AS INTEGER))
            WHERE key LIKE 'snapshot-unusable|%' AND json_valid(concern);
        UPDATE alerts SET concern = json_set(concern, '$.subject', told.day, '$.level', told.level)
            FROM (SELECT key AS name,
                    CASE subject WHEN 'ENDED' THEN 2 WHEN 'URGENT' THEN 1 ELSE 0 END AS level,
                    CASE subject WHEN 'ENDED' THEN substr(said, -20, 10)
                        ELSE substr(said, instr(said, ', ends ') + 7, 10) END AS day
                FROM (SELECT key, json_extract(concern, '$.subject') AS subject, json_extract(concern, '$.text') AS said
                    FROM alerts WHERE key LIKE 'node-certificate|%' AND json_valid(concern))) AS told
            WHERE key = told.name AND told.day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]';
        UPDATE alerts SET concern = json_set(concern, '$.subject', substr(told.rest, 1,
                instr(replace(told.rest, ':', ' ') || ' ', ' ') - 1))
            FROM (SELECT key AS name, replace(substr(json_extract(concern, '$.subject'), 8), '"', '') AS rest
                FROM alerts WHERE key LIKE 'policy-unusable|%' AND json_valid(concern)
                    AND json_extract(concern, '$.subject') LIKE 'policy %') AS told
            WHERE key = told.name;
        DELETE FROM alerts_noticed
            WHERE key LIKE 'snapshot-unusable|%' OR key LIKE 'node-certificate|%' OR key LIKE 'policy-unusable|%';
        """

    // Of a matter one message waits for a target, the newest. next and failures of a target: when it may be sent something again,
    // and how often it has failed since it took the last.
    private static let alertsByMatter = """
        ALTER TABLE alert_targets ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE alert_targets ADD COLUMN next INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE alert_messages ADD COLUMN key TEXT NOT NULL DEFAULT '';
        UPDATE alert_messages SET key = coalesce(CASE WHEN json_valid(body) THEN json_extract(body, '$.key') END, id);
        DELETE FROM alert_messages WHERE number NOT IN (SELECT max(number) FROM alert_messages GROUP BY target, key);
        DROP INDEX alert_messages_target;
        CREATE INDEX alert_messages_turn ON alert_messages (target, attempts, number);
        CREATE UNIQUE INDEX alert_messages_matter ON alert_messages (target, key);
        """

    // Names of the keys that its encryption-at-rest configuration has (JSON); NULL: not known.
    private static let decryptionKeys = """
        ALTER TABLE node_bundles ADD COLUMN encryption_keys TEXT;
        """

    // time and cluster repeat what the body says, to be searched by; the walk along the chain compares them with it. (As
    // generated columns they could not differ, but SQLite 3.40 holds json_extract for unsafe in an untrusted schema.)
    // REPLACE would delete rows: recursive_triggers is on, so the trigger sees it.
    private static let audit = """
        CREATE TABLE audit_events (
            sequence INTEGER PRIMARY KEY,
            time INTEGER NOT NULL,
            cluster TEXT,
            body TEXT NOT NULL,
            previous BLOB NOT NULL CHECK (length(previous) = 32),
            hash BLOB NOT NULL CHECK (length(hash) = 32)
        ) STRICT;
        CREATE INDEX audit_events_cluster ON audit_events (cluster, sequence);
        CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
        CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
        """
}
