BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE clips (
	id TEXT NOT NULL, 
	inbox TEXT NOT NULL, 
	path BLOB NOT NULL, 
	sidecar BLOB, 
	source TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	mtime_ns INTEGER NOT NULL, 
	accepted_at FLOAT NOT NULL, 
	sha256 TEXT, 
	media TEXT NOT NULL, 
	lies_at BLOB, 
	sidecar_lies_at BLOB, 
	retired_at FLOAT, 
	retire_due FLOAT, 
	retire_attempts INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "clips" VALUES('clip0delivered','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760011200.0,'abababababababababababababababababababababababababababababababab','{}',X'5F646F6E652F6461792F73686F742E6D7034',NULL,1760011740.0,NULL,0);
INSERT INTO "clips" VALUES('clip0failed','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760011860.0,NULL,'{}',X'5F646F6E652F6461792F73686F742E6D7034',NULL,1760012040.0,NULL,0);
INSERT INTO "clips" VALUES('clip0doubt','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760012160.0,'abababababababababababababababababababababababababababababababab','{}',NULL,NULL,NULL,NULL,0);
INSERT INTO "clips" VALUES('clip0cancelled','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760012400.0,NULL,'{}',X'5F646F6E652F6461792F73686F742E6D7034',NULL,1760012460.0,NULL,0);
INSERT INTO "clips" VALUES('clip0rendered','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760012580.0,'abababababababababababababababababababababababababababababababab','{}',NULL,NULL,NULL,NULL,0);
INSERT INTO "clips" VALUES('clip0fetched','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760012940.0,'abababababababababababababababababababababababababababababababab','{}',NULL,NULL,NULL,NULL,0);
INSERT INTO "clips" VALUES('clip0running','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760013360.0,'abababababababababababababababababababababababababababababababab','{}',NULL,NULL,NULL,NULL,0);
INSERT INTO "clips" VALUES('clip0submitting','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760013600.0,'abababababababababababababababababababababababababababababababab','{}',NULL,NULL,NULL,NULL,0);
INSERT INTO "clips" VALUES('clip0queued','bay',X'6461792F73686F742E6D7034',X'6461792F73686F742E746F6D6C','clip.mp4',9,1000,1760013780.0,NULL,'{}',NULL,NULL,NULL,NULL,0);
CREATE TABLE events (
	id INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	clip_id TEXT NOT NULL, 
	job_id TEXT, 
	event TEXT NOT NULL, 
	from_state TEXT, 
	to_state TEXT, 
	facts TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "events" VALUES(1,1760011200.0,'clip0delivered','clip0delivered','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(2,1760011380.0,'clip0delivered','clip0delivered','connected','queued','submitting','{"profile":"https://api.test/v1#5eed"}');
INSERT INTO "events" VALUES(3,1760011440.0,'clip0delivered','clip0delivered','task_created','submitting','running','{"task_id":"task-clip0delivered-0","credits":15.0}');
INSERT INTO "events" VALUES(4,1760011560.0,'clip0delivered','clip0delivered','task_succeeded','running','rendered','{"credits":15.0}');
INSERT INTO "events" VALUES(5,1760011620.0,'clip0delivered','clip0delivered','fetched','rendered','fetched','{"results":[{"file":"clip1-1.mp4","suffix":".mp4","size":6,"sha256":"abababababababababababababababababababababababababababababababab","name":"","finished":[],"is_untouched":false}]}');
INSERT INTO "events" VALUES(6,1760011680.0,'clip0delivered','clip0delivered','delivered','fetched','delivered','{"results":[{"file":"clip1-1.mp4","suffix":".mp4","size":6,"sha256":"abababababababababababababababababababababababababababababababab","name":"shot.mp4","finished":[],"is_untouched":false}]}');
INSERT INTO "events" VALUES(7,1760011740.0,'clip0delivered',NULL,'retired',NULL,NULL,'{"to":"_done/day/shot.mp4"}');
INSERT INTO "events" VALUES(8,1760011860.0,'clip0failed','clip0failed','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(9,1760011980.0,'clip0failed','clip0failed','failed','queued','failed','{"error":{"code":"CLIP.MISSING","message":"gone","what_to_do":"Drop it again.","retryable":false,"paid":"no"}}');
INSERT INTO "events" VALUES(10,1760012040.0,'clip0failed',NULL,'retired',NULL,NULL,'{"to":"_done/day/shot.mp4"}');
INSERT INTO "events" VALUES(11,1760012160.0,'clip0doubt','clip0doubt','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(12,1760012340.0,'clip0doubt','clip0doubt','connected','queued','submitting','{"profile":"https://api.test/v1#5eed"}');
INSERT INTO "events" VALUES(13,1760012400.0,'clip0doubt','clip0doubt','answer_lost','submitting','in_doubt','{"message":"no answer came","evidence":{"bytes_written":9}}');
INSERT INTO "events" VALUES(14,1760012400.0,'clip0cancelled','clip0cancelled','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(15,1760012400.0,'clip0cancelled','clip0cancelled','cancelled','queued','cancelled','{"by":"ann"}');
INSERT INTO "events" VALUES(16,1760012460.0,'clip0cancelled',NULL,'retired',NULL,NULL,'{"to":"_done/day/shot.mp4"}');
INSERT INTO "events" VALUES(17,1760012580.0,'clip0rendered','clip0rendered','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(18,1760012760.0,'clip0rendered','clip0rendered','connected','queued','submitting','{"profile":"https://api.test/v1#5eed"}');
INSERT INTO "events" VALUES(19,1760012820.0,'clip0rendered','clip0rendered','task_created','submitting','running','{"task_id":"task-clip0rendered-0","credits":15.0}');
INSERT INTO "events" VALUES(20,1760012940.0,'clip0rendered','clip0rendered','task_succeeded','running','rendered','{"credits":15.0}');
INSERT INTO "events" VALUES(21,1760012940.0,'clip0fetched','clip0fetched','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(22,1760013120.0,'clip0fetched','clip0fetched','connected','queued','submitting','{"profile":"https://api.test/v1#5eed"}');
INSERT INTO "events" VALUES(23,1760013180.0,'clip0fetched','clip0fetched','task_created','submitting','running','{"task_id":"task-clip0fetched-0","credits":15.0}');
INSERT INTO "events" VALUES(24,1760013300.0,'clip0fetched','clip0fetched','task_succeeded','running','rendered','{"credits":15.0}');
INSERT INTO "events" VALUES(25,1760013360.0,'clip0fetched','clip0fetched','fetched','rendered','fetched','{"results":[{"file":"clip1-1.mp4","suffix":".mp4","size":6,"sha256":"abababababababababababababababababababababababababababababababab","name":"","finished":[],"is_untouched":false}]}');
INSERT INTO "events" VALUES(26,1760013360.0,'clip0running','clip0running','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(27,1760013540.0,'clip0running','clip0running','connected','queued','submitting','{"profile":"https://api.test/v1#5eed"}');
INSERT INTO "events" VALUES(28,1760013600.0,'clip0running','clip0running','task_created','submitting','running','{"task_id":"task-clip0running-0","credits":15.0}');
INSERT INTO "events" VALUES(29,1760013600.0,'clip0submitting','clip0submitting','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(30,1760013720.0,'clip0running','clip0running','task_seen','running','running','{"status":"RUNNING","rendering":true,"progress":0.5}');
INSERT INTO "events" VALUES(31,1760013780.0,'clip0submitting','clip0submitting','connected','queued','submitting','{"profile":"https://api.test/v1#5eed"}');
INSERT INTO "events" VALUES(32,1760013780.0,'clip0queued','clip0queued-v1','accepted',NULL,'queued','{"size":9}');
INSERT INTO "events" VALUES(33,1760013780.0,'clip0queued','clip0queued-v2','accepted',NULL,'queued','{"size":9}');
CREATE TABLE facts (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "facts" VALUES('id','"d4e397f9bdca5353"');
CREATE TABLE jobs (
	id TEXT NOT NULL, 
	clip_id TEXT NOT NULL, 
	inbox TEXT NOT NULL, 
	variant TEXT NOT NULL, 
	node TEXT NOT NULL, 
	request TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	state TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	due_at FLOAT NOT NULL, 
	held TEXT, 
	reason TEXT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	prepared BOOLEAN NOT NULL, 
	approved BOOLEAN NOT NULL, 
	cancel_by TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	doubts INTEGER NOT NULL, 
	progress FLOAT, 
	rendering_since FLOAT, 
	task_number INTEGER, 
	credits_estimated FLOAT, 
	error TEXT, 
	results TEXT NOT NULL, 
	paid TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(clip_id) REFERENCES clips (id)
);
INSERT INTO "jobs" VALUES('clip0delivered','clip0delivered','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760011200.0,'delivered',0,1760011680.0,NULL,'',1760011680.0,1,0,'',0,0,1.0,NULL,1,15.0,NULL,'[{"file":"clip1-1.mp4","suffix":".mp4","size":6,"sha256":"abababababababababababababababababababababababababababababababab","name":"73686f742e6d7034","finished":[],"is_untouched":false}]','yes');
INSERT INTO "jobs" VALUES('clip0failed','clip0failed','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760011860.0,'failed',0,1760011980.0,NULL,'',1760011980.0,0,0,'',0,0,NULL,NULL,NULL,NULL,'{"code":"CLIP.MISSING","message":"gone","what_to_do":"Drop it again.","retryable":false,"paid":"no"}','[]','no');
INSERT INTO "jobs" VALUES('clip0doubt','clip0doubt','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760012160.0,'in_doubt',0,1760012400.0,'in_doubt','no answer came',1760012400.0,1,0,'',0,1,NULL,NULL,1,15.0,NULL,'[]','unknown');
INSERT INTO "jobs" VALUES('clip0cancelled','clip0cancelled','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760012400.0,'cancelled',0,1760012400.0,NULL,'',1760012400.0,0,0,'ann',0,0,NULL,NULL,NULL,NULL,'{"code":"CANCELLED","message":"cancelled by ann","what_to_do":"Run it again with `clipspool retry`, or drop the clip again.","retryable":true,"paid":"no"}','[]','no');
INSERT INTO "jobs" VALUES('clip0rendered','clip0rendered','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760012580.0,'rendered',0,1760012940.0,NULL,'',1760012940.0,1,0,'',0,0,1.0,NULL,1,15.0,NULL,'[]','yes');
INSERT INTO "jobs" VALUES('clip0fetched','clip0fetched','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760012940.0,'fetched',0,1760013360.0,NULL,'',1760013360.0,1,0,'',0,0,1.0,NULL,1,15.0,NULL,'[{"file":"clip1-1.mp4","suffix":".mp4","size":6,"sha256":"abababababababababababababababababababababababababababababababab","name":"","finished":[],"is_untouched":false}]','yes');
INSERT INTO "jobs" VALUES('clip0running','clip0running','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760013360.0,'running',0,1760013798.0,NULL,'the provider says RUNNING',1760013780.0,1,0,'',0,0,0.5,1760013720.0,1,15.0,NULL,'[]','yes');
INSERT INTO "jobs" VALUES('clip0submitting','clip0submitting','bay','','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760013600.0,'submitting',0,1760013780.0,NULL,'',1760013780.0,1,0,'',0,0,NULL,NULL,1,15.0,NULL,'[]','no');
INSERT INTO "jobs" VALUES('clip0queued-v1','clip0queued','bay','_v1','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760013780.0,'queued',0,1760900000.0,NULL,'',1760011200.0,0,0,'',0,0,NULL,NULL,NULL,NULL,NULL,'[]','no');
INSERT INTO "jobs" VALUES('clip0queued-v2','clip0queued','bay','_v2','here','{"prompt":"deep winter","model":"gen4_aleph","seed":42}',1760013780.0,'queued',0,1760900000.0,NULL,'',1760011200.0,0,0,'',0,0,NULL,NULL,NULL,NULL,NULL,'[]','no');
CREATE TABLE tasks (
	job_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	segment INTEGER DEFAULT '0' NOT NULL, 
	profile TEXT NOT NULL, 
	intent_at FLOAT NOT NULL, 
	task_id TEXT, 
	created_at FLOAT, 
	credits FLOAT, 
	credits_reserved FLOAT, 
	succeeded BOOLEAN NOT NULL, 
	evidence TEXT NOT NULL, 
	PRIMARY KEY (job_id, number, segment), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "tasks" VALUES('clip0delivered',1,0,'https://api.test/v1#5eed',1760011380.0,'task-clip0delivered-0',1760011440.0,15.0,15.0,1,'{}');
INSERT INTO "tasks" VALUES('clip0doubt',1,0,'https://api.test/v1#5eed',1760012340.0,NULL,NULL,NULL,15.0,0,'{"bytes_written":9,"message":"no answer came"}');
INSERT INTO "tasks" VALUES('clip0rendered',1,0,'https://api.test/v1#5eed',1760012760.0,'task-clip0rendered-0',1760012820.0,15.0,15.0,1,'{}');
INSERT INTO "tasks" VALUES('clip0fetched',1,0,'https://api.test/v1#5eed',1760013120.0,'task-clip0fetched-0',1760013180.0,15.0,15.0,1,'{}');
INSERT INTO "tasks" VALUES('clip0running',1,0,'https://api.test/v1#5eed',1760013540.0,'task-clip0running-0',1760013600.0,15.0,15.0,0,'{}');
INSERT INTO "tasks" VALUES('clip0submitting',1,0,'https://api.test/v1#5eed',1760013780.0,NULL,NULL,NULL,15.0,0,'{}');
CREATE INDEX clips_by_content ON clips (sha256);
CREATE INDEX clips_to_retire ON clips (retire_due) WHERE retire_due IS NOT NULL;
CREATE INDEX events_by_clip ON events (clip_id, id);
CREATE INDEX events_by_job ON events (job_id, id);
CREATE INDEX jobs_by_age ON jobs (created_at);
CREATE INDEX jobs_by_clip ON jobs (clip_id);
CREATE INDEX jobs_due ON jobs (state, due_at);
CREATE INDEX jobs_in_queue ON jobs (inbox, priority DESC, created_at, id) WHERE state = 'queued' AND held IS NULL;
CREATE INDEX tasks_by_intent ON tasks (intent_at);
COMMIT;
