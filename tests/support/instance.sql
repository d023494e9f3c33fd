-- The tables of a Kimai that matter to a backup, in the shape that Kimai 2.66 gives them: an integer key almost
-- everywhere, a circle of foreign keys, one to the same table, a blob, JSON with a check, two character sets.

CREATE TABLE kimai2_users (
  id INT NOT NULL AUTO_INCREMENT,
  username VARCHAR(180) NOT NULL,
  email VARCHAR(180) NOT NULL,
  password VARCHAR(255) NOT NULL,
  alias VARCHAR(60) DEFAULT NULL,
  enabled TINYINT(1) NOT NULL,
  registration_date DATETIME DEFAULT NULL,
  roles LONGTEXT NOT NULL COMMENT '(DC2Type:array)',
  last_login DATETIME DEFAULT NULL,
  totp_secret VARCHAR(255) DEFAULT NULL,
  supervisor_id INT DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY users_username (username),
  UNIQUE KEY users_email (email),
  KEY users_supervisor (supervisor_id),
  CONSTRAINT users_supervisor FOREIGN KEY (supervisor_id) REFERENCES kimai2_users (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_user_preferences (
  id INT NOT NULL AUTO_INCREMENT,
  user_id INT DEFAULT NULL,
  name VARCHAR(50) NOT NULL,
  value VARCHAR(255) DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY preferences_name (user_id, name),
  CONSTRAINT preferences_user FOREIGN KEY (user_id) REFERENCES kimai2_users (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_customers (
  id INT NOT NULL AUTO_INCREMENT,
  name VARCHAR(150) NOT NULL,
  number VARCHAR(50) DEFAULT NULL,
  comment TEXT DEFAULT NULL,
  visible TINYINT(1) NOT NULL,
  address TEXT DEFAULT NULL,
  country VARCHAR(2) NOT NULL,
  currency VARCHAR(3) NOT NULL,
  timezone VARCHAR(64) NOT NULL,
  color VARCHAR(7) DEFAULT NULL,
  time_budget INT NOT NULL DEFAULT 0,
  budget DOUBLE NOT NULL DEFAULT 0,
  billable TINYINT(1) NOT NULL DEFAULT 1,
  invoice_template_id INT DEFAULT NULL,
  created_at DATETIME DEFAULT NULL COMMENT '(DC2Type:datetime_immutable)',
  PRIMARY KEY (id),
  KEY customers_visible (visible),
  KEY customers_template (invoice_template_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_invoice_templates (
  id INT NOT NULL AUTO_INCREMENT,
  name VARCHAR(60) NOT NULL,
  title VARCHAR(255) NOT NULL,
  due_days INT NOT NULL,
  vat DOUBLE DEFAULT 0,
  renderer VARCHAR(20) NOT NULL,
  payment_terms TEXT DEFAULT NULL,
  language VARCHAR(35) NOT NULL,
  customer_id INT DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY templates_name (name),
  KEY templates_customer (customer_id),
  CONSTRAINT templates_customer FOREIGN KEY (customer_id) REFERENCES kimai2_customers (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

ALTER TABLE kimai2_customers ADD CONSTRAINT customers_template
  FOREIGN KEY (invoice_template_id) REFERENCES kimai2_invoice_templates (id) ON DELETE SET NULL;

CREATE TABLE kimai2_projects (
  id INT NOT NULL AUTO_INCREMENT,
  customer_id INT NOT NULL,
  name VARCHAR(150) NOT NULL,
  order_number TINYTEXT DEFAULT NULL,
  comment TEXT DEFAULT NULL,
  visible TINYINT(1) NOT NULL,
  budget DOUBLE NOT NULL DEFAULT 0,
  start DATETIME DEFAULT NULL,
  `end` DATETIME DEFAULT NULL,
  timezone VARCHAR(64) DEFAULT NULL,
  PRIMARY KEY (id),
  KEY projects_customer_name (customer_id, visible, name),
  CONSTRAINT projects_customer FOREIGN KEY (customer_id) REFERENCES kimai2_customers (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_activities (
  id INT NOT NULL AUTO_INCREMENT,
  project_id INT DEFAULT NULL,
  name VARCHAR(150) NOT NULL,
  comment TEXT DEFAULT NULL,
  visible TINYINT(1) NOT NULL,
  PRIMARY KEY (id),
  KEY activities_project_name (visible, project_id, name),
  KEY activities_project (project_id),
  CONSTRAINT activities_project FOREIGN KEY (project_id) REFERENCES kimai2_projects (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_timesheet (
  id INT NOT NULL AUTO_INCREMENT,
  user INT NOT NULL,
  activity_id INT NOT NULL,
  project_id INT NOT NULL,
  start_time DATETIME NOT NULL,
  end_time DATETIME DEFAULT NULL,
  duration INT DEFAULT NULL,
  description TEXT DEFAULT NULL,
  rate DOUBLE NOT NULL,
  fixed_rate DOUBLE DEFAULT NULL,
  hourly_rate DOUBLE DEFAULT NULL,
  exported TINYINT(1) NOT NULL DEFAULT 0,
  timezone VARCHAR(64) NOT NULL,
  internal_rate DOUBLE DEFAULT NULL,
  billable TINYINT(1) DEFAULT 1,
  category VARCHAR(10) NOT NULL DEFAULT 'work',
  modified_at DATETIME DEFAULT NULL,
  date_tz DATE NOT NULL,
  PRIMARY KEY (id),
  KEY timesheet_user (user),
  KEY timesheet_activity (activity_id),
  KEY timesheet_project (project_id),
  KEY timesheet_user_start (user, start_time),
  KEY timesheet_start (start_time),
  KEY timesheet_start_end (start_time, end_time),
  KEY timesheet_start_end_user (start_time, end_time, user),
  KEY timesheet_date_user (date_tz, user),
  KEY timesheet_end_user (end_time, user),
  KEY timesheet_end_user_start (end_time, user, start_time),
  KEY timesheet_recent (user, project_id, activity_id),
  KEY timesheet_result (user, id, duration),
  CONSTRAINT timesheet_user FOREIGN KEY (user) REFERENCES kimai2_users (id) ON DELETE CASCADE,
  CONSTRAINT timesheet_activity FOREIGN KEY (activity_id) REFERENCES kimai2_activities (id) ON DELETE CASCADE,
  CONSTRAINT timesheet_project FOREIGN KEY (project_id) REFERENCES kimai2_projects (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_tags (
  id INT NOT NULL AUTO_INCREMENT,
  name VARCHAR(100) NOT NULL,
  color VARCHAR(7) DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY tags_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_timesheet_tags (
  timesheet_id INT NOT NULL,
  tag_id INT NOT NULL,
  PRIMARY KEY (timesheet_id, tag_id),
  KEY timesheet_tags_tag (tag_id),
  CONSTRAINT timesheet_tags_timesheet FOREIGN KEY (timesheet_id) REFERENCES kimai2_timesheet (id) ON DELETE CASCADE,
  CONSTRAINT timesheet_tags_tag FOREIGN KEY (tag_id) REFERENCES kimai2_tags (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_invoices (
  id INT NOT NULL AUTO_INCREMENT,
  customer_id INT NOT NULL,
  user_id INT NOT NULL,
  invoice_number VARCHAR(50) NOT NULL,
  created_at DATETIME NOT NULL,
  timezone VARCHAR(64) NOT NULL,
  total DOUBLE NOT NULL,
  tax DOUBLE NOT NULL,
  currency VARCHAR(3) NOT NULL,
  status VARCHAR(20) NOT NULL,
  invoice_filename VARCHAR(150) NOT NULL,
  payment_date DATE DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY invoices_number (invoice_number),
  UNIQUE KEY invoices_filename (invoice_filename),
  CONSTRAINT invoices_customer FOREIGN KEY (customer_id) REFERENCES kimai2_customers (id) ON DELETE CASCADE,
  CONSTRAINT invoices_user FOREIGN KEY (user_id) REFERENCES kimai2_users (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_configuration (
  id INT NOT NULL AUTO_INCREMENT,
  name VARCHAR(100) NOT NULL,
  value TEXT DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY configuration_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_export_templates (
  id INT NOT NULL AUTO_INCREMENT,
  title VARCHAR(100) NOT NULL,
  renderer VARCHAR(20) NOT NULL,
  columns JSON NOT NULL COMMENT '(DC2Type:json)',
  options JSON NOT NULL COMMENT '(DC2Type:json)',
  PRIMARY KEY (id),
  UNIQUE KEY export_templates_title (title)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_sessions (
  id VARCHAR(128) NOT NULL,
  data BLOB NOT NULL,
  time INT UNSIGNED NOT NULL,
  lifetime INT UNSIGNED NOT NULL,
  PRIMARY KEY (id),
  KEY sessions_lifetime (lifetime)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE kimai2_teams (
  id INT NOT NULL AUTO_INCREMENT,
  name VARCHAR(100) NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE bundle_migration_demo (
  version VARCHAR(191) NOT NULL,
  executed_at DATETIME DEFAULT NULL,
  execution_time INT DEFAULT NULL,
  PRIMARY KEY (version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci;

CREATE TABLE migration_versions (
  version VARCHAR(191) NOT NULL,
  executed_at DATETIME DEFAULT NULL,
  execution_time INT DEFAULT NULL,
  PRIMARY KEY (version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_unicode_ci;
